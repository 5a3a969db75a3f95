-- As attempts_of_call, of the call with this id ($1), ended or not.
select a.call_id, a.attempt, a.reservation_id, a.link_id, a.client_id, a.endpoint_id, a.offered_at,
       a.ring_timeout_seconds, a.answered_at, a.ended_at, a.dial_status, a.hangup_cause_code,
       a.recording_stem, r.confirmed_by
from call_attempts_recent a
left join reservations r on r.call_id = a.call_id and r.attempt = a.attempt
where a.call_id = $1
order by a.attempt
