-- The Asterisk servers that daemons know, by name, each with its calls under way.
select s.name, s.entity_id, s.system_name, s.startup_time, s.version, s.observer, s.heartbeat,
       floor(extract(epoch from clock_timestamp() - s.heartbeat))::bigint as seconds_ago,
       s.declared_dead_at, s.declared_dead_by,
       (select count(*) from calls c where coalesce(c.server_name, c.likely_server_name) = s.name and c.ended_at is null) as calls_under_way
from servers s
order by s.name
