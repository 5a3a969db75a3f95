-- A server ($1) will not come back, says $2. Nothing is noted while a daemon watches it: told are which, and since when.
with watched as (
    select node_name, extract(epoch from clock_timestamp() - heartbeat)::bigint as seconds_ago
    from (
        select node_name, heartbeat from server_observers where server_name = $1 and not contested
        union all
        select observer, heartbeat from servers where name = $1 and observer is not null
    ) seen
    where heartbeat > clock_timestamp() - interval '60 seconds'
    order by heartbeat desc
    limit 1
), dead as (
    update servers set declared_dead_at = clock_timestamp(), declared_dead_by = $2
    where name = $1 and not exists (select from watched)
    returning name
)
select exists (select from servers where name = $1)
       or exists (select from calls where server_name = $1 and ended_at is null and uniqueid_under_way is not null)
           as known,
       w.node_name, w.seconds_ago
from (select) one
left join watched w on true
left join dead d on true
