-- Daemon $2 compares the calls of a server ($1) with its channels: it says of itself entity id $3, system name $4, start
-- $5. Told are all daemons that did so within a day.
with me as (
    insert into server_observers (server_name, node_name, entity_id, system_name, startup_time, heartbeat)
    values ($1, $2, $3, $4, $5, clock_timestamp())
    on conflict (server_name, node_name) do update
    set entity_id = excluded.entity_id, system_name = excluded.system_name, startup_time = excluded.startup_time,
        heartbeat = excluded.heartbeat
)
select o.server_name, o.node_name, o.entity_id, o.system_name, o.startup_time,
       o.heartbeat > clock_timestamp() - interval '12 seconds' as fresh
from server_observers o
where o.heartbeat > clock_timestamp() - interval '1 day' and (o.server_name, o.node_name) <> ($1, $2)
