-- What the daemons that watch servers, or did within a day, see of them.
select o.server_name, o.node_name, o.entity_id, o.system_name, o.startup_time,
       o.heartbeat > clock_timestamp() - interval '12 seconds' as fresh
from server_observers o
where o.heartbeat > clock_timestamp() - interval '1 day'
