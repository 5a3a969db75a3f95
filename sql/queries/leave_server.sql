-- Daemon $2 does not watch a server ($1) any more.
update server_observers set heartbeat = '-infinity' where server_name = $1 and node_name = $2
