-- Calls under way on a server ($1), or on none that is known; $2 is this daemon. `watched_elsewhere`: another daemon saw
-- the channel first, or was asked if nobody has seen it, and still compares: it will say when it is gone.
-- `expires_soon`: its hard limit is near.
select c.call_id, c.asterisk_uniqueid, c.channel, c.server_name, c.system_name, c.likely_server_name,
       c.channel_created_at, c.seen_by, c.expires_at < now() + interval '1 hour' as expires_soon,
       coalesce(c.seen_by, c.node_name) <> $2 and exists (
           select from server_observers o
           where o.node_name = coalesce(c.seen_by, c.node_name)
             and (c.server_name is null or o.server_name = c.server_name)
             and not o.contested and o.heartbeat > now() - interval '12 seconds') as watched_elsewhere,
       r.attempt as open_attempt, r.reservation_id, r.state, r.confirmed_by, a.endpoint_id
from calls c
left join reservations r on r.call_id = c.call_id and r.ended_at is null and r.attempt_ended_at is null
left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
where c.uniqueid_under_way is not null and c.ended_at is null
  and (c.server_name = $1 or c.server_name is null)
