-- The newest calls of a seller ($1) in a time: from $2, before $3, and before the call ($5) that began at $4; $6 of
-- them after $7 more. What nearly everybody asks for: one plan serves all, by the index alone.
with page as materialized (
    select l.id, l.user_id, l.campaign_id, l.did_id, l.client_id, l.incoming_did_number, l.caller_id_num,
           l.caller_id_name, l.timestamp_start, l.timestamp_answered, l.timestamp_end, l.duration_seconds,
           l.billsec_seconds, l.call_status, l.hangup_cause_code, l.hangup_cause_text,
           l.asterisk_uniqueid, l.asterisk_linkedid, l.refusal_reason, l.attempts, l.created_at, l.hangup_by
    from call_logs l
    where l.user_id = $1
      and l.timestamp_start >= $2 and l.timestamp_start < $3
      and l.timestamp_start <= $4 and (l.timestamp_start, l.id) < ($4, $5)
    order by l.timestamp_start desc, l.id desc
    limit $6 offset $7
)
select p.id, p.user_id, c.id as campaign_id, c.name as campaign_name, d.id as did_id, d.number as did_number,
       cl.id as client_id, cl.name as client_name, cl.client_identifier,
       p.incoming_did_number, p.caller_id_num, p.caller_id_name, p.timestamp_start, p.timestamp_answered,
       p.timestamp_end, p.duration_seconds, p.billsec_seconds, p.call_status, p.hangup_cause_code,
       p.hangup_cause_text, p.asterisk_uniqueid, p.asterisk_linkedid, p.refusal_reason, p.attempts, p.created_at,
       p.hangup_by
from page p
left join campaigns c on c.id = p.campaign_id
left join dids d on d.id = p.did_id
left join clients cl on cl.id = p.client_id
order by p.timestamp_start desc, p.id desc
