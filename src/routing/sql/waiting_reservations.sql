-- Slots of a server ($1) whose attempt is over and whose target's channel was still there.
select r.call_id, r.attempt, r.leg_uniqueid, c.asterisk_uniqueid as caller_uniqueid, a.endpoint_id
from reservations r
left join calls c on c.call_id = r.call_id
left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
where r.server_name = $1 and r.ended_at is null and r.attempt_ended_at is not null
