-- The attempts of the call under way under a unique id ($1), in order.
select a.attempt, a.reservation_id, a.link_id, a.client_id, a.endpoint_id, a.offered_at,
       a.ring_timeout_seconds, a.answered_at, a.ended_at, a.dial_status, a.hangup_cause_code,
       a.recording_stem
from calls c
join call_attempts a on a.call_id = c.call_id
where c.uniqueid_under_way = $1
order by a.attempt
