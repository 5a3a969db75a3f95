-- The call that is under way under a unique id ($1), with its attempts in order: one row each, or one
-- without attempt.
select c.call_id, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at,
       a.attempt, a.reservation_id, a.link_id, a.client_id, a.endpoint_id, a.offered_at,
       a.ring_timeout_seconds, a.answered_at, a.ended_at, a.dial_status, a.hangup_cause_code,
       a.recording_stem
from calls c
left join call_attempts a on a.call_id = c.call_id
where c.uniqueid_under_way = $1
order by a.attempt
