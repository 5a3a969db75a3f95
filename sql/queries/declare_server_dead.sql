-- Notes that a server ($1) does not come back, and who ($2) says so; not if an observer saw it within the last $3
-- seconds by the database's clock. No row: no such server is known.
with server as materialized (
    select name, observer, extract(epoch from clock_timestamp() - heartbeat)::bigint as seconds_ago
    from servers where name = $1 for update
), declared as (
    update servers s set declared_dead_at = clock_timestamp(), declared_dead_by = $2
    from server
    where s.name = server.name and (server.observer is null or server.seconds_ago >= $3::bigint)
    returning s.name
)
select observer, greatest(seconds_ago, 0) as seconds_ago, exists (select from declared) as declared from server
