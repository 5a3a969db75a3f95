-- The attempts of the calls under way under the keys of a unique id ($1), in order.
select c.call_id, a.attempt, a.reservation_id, a.link_id, a.client_id, a.endpoint_id, a.offered_at,
       a.ring_timeout_seconds, a.answered_at, a.ended_at, a.dial_status, a.hangup_cause_code,
       a.recording_stem, r.confirmed_by
from calls c
join call_attempts_recent a on a.call_id = c.call_id
left join reservations r on r.call_id = a.call_id and r.attempt = a.attempt
where c.uniqueid_under_way = any ($1::text[])
order by c.call_id, a.attempt
