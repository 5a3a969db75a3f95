-- Open reservations whose call is not under way and that wait for no channel. There are none unless rows were changed
-- by hand.
select r.call_id
from reservations r
where r.ended_at is null and r.attempt_ended_at is null
  and not exists (select from calls c where c.call_id = r.call_id and c.ended_at is null)
limit 500
