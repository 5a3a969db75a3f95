-- A call of the log ($2), if it is of the seller $1 (null: of anybody).
select l.id, l.user_id, c.id as campaign_id, c.name as campaign_name, d.id as did_id, d.number as did_number,
       cl.id as client_id, cl.name as client_name, cl.client_identifier,
       l.incoming_did_number, l.caller_id_num, l.caller_id_name, l.timestamp_start, l.timestamp_answered,
       l.timestamp_end, l.duration_seconds, l.billsec_seconds, l.call_status, l.hangup_cause_code,
       l.hangup_cause_text, l.asterisk_uniqueid, l.asterisk_linkedid, l.refusal_reason, l.attempts, l.created_at,
       l.hangup_by
from call_logs l
left join campaigns c on c.id = l.campaign_id
left join dids d on d.id = l.did_id
left join clients cl on cl.id = l.client_id
where l.id = $2 and ($1::int is null or l.user_id = $1)
