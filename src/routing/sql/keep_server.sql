-- The server ($1) is this one: entity id $2, system name $3, start $4, version $5, as daemon $6 sees. No row where its
-- name is another machine's, whose calls may be alive: one with another entity id that was not declared dead and
-- either is watched or still has calls.
insert into servers as s (name, entity_id, system_name, startup_time, version, observer, heartbeat)
values ($1, $2, $3, $4, $5, $6, clock_timestamp())
on conflict (name) do update
set entity_id = excluded.entity_id, system_name = excluded.system_name, startup_time = excluded.startup_time,
    version = excluded.version, observer = excluded.observer, heartbeat = excluded.heartbeat,
    declared_dead_at = null, declared_dead_by = null
where s.entity_id is null or excluded.entity_id is null or s.entity_id = excluded.entity_id
   or s.declared_dead_at is not null
   or s.heartbeat < clock_timestamp() - interval '12 seconds'
      and not exists (
          select from calls c
          where c.uniqueid_under_way is not null and c.ended_at is null and c.server_name = s.name)
returning s.name
