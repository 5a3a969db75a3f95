-- Daemon $2 does not watch a server ($1) any more.
with left_servers as (
    update servers set observer = null where name = $1 and observer = $2
)
update server_observers set heartbeat = '-infinity' where server_name = $1 and node_name = $2
