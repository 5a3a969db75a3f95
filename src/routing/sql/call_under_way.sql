-- The calls that are under way under the keys of a unique id ($1), with their attempts in order: a row each, or one
-- without attempt. One call as a rule; more where several Asterisks give the same unique ids.
select c.call_id, c.asterisk_uniqueid, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at, c.system_name, c.server_name, c.uniqueid_under_way, true as observed,
       clock_timestamp() as now,
       a.attempt, a.reservation_id, a.link_id, a.client_id, a.endpoint_id, a.offered_at,
       a.ring_timeout_seconds, a.answered_at, a.ended_at, a.dial_status, a.hangup_cause_code,
       a.recording_stem, r.confirmed_by
from calls c
left join call_attempts_recent a on a.call_id = c.call_id
left join reservations r on r.call_id = a.call_id and r.attempt = a.attempt
where c.uniqueid_under_way = any ($1::text[])
order by c.call_id, a.attempt
