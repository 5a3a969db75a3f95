-- Slots that wait for a channel which nobody watches any more: where it was never seen, the report alone counts after a
-- while; where it was, the hard limit of its call.
select r.call_id, r.attempt
from reservations r
left join calls c on c.call_id = r.call_id
where r.ended_at is null and r.attempt_ended_at is not null
  and not exists (
      select from server_observers o
      where o.server_name = r.server_name and not o.contested and o.heartbeat > now() - interval '12 seconds')
  and (r.leg_uniqueid is null and r.attempt_ended_at < now() - interval '15 seconds'
       or coalesce(c.expires_at, r.attempt_ended_at) < now())
limit 500
