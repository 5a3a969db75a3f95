-- Ends a call ($1) and writes its one row in the log. A call already ended is left alone; a row written
-- at a refusal is completed, and overruled when the call was answered after all ($12: by the dialplan's fallback). $13 says who
-- ended it, if that is known; $14 whether the dialplan told the end.
with call as (
    update calls set ended_at = $2, end_reported = $14
    where call_id = $1 and ended_at is null
    returning call_id, user_id, campaign_id, did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
              asterisk_uniqueid, asterisk_linkedid, refusal_reason, server_name, likely_server_name
)
insert into call_logs (id, user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                       incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                       timestamp_answered, timestamp_end, duration_seconds, billsec_seconds,
                       call_status, hangup_cause_code, hangup_cause_text, asterisk_uniqueid,
                       asterisk_linkedid, refusal_reason, attempts, server_name, hangup_by)
select c.call_id,
       (select id from users where id = c.user_id),
       (select id from campaigns where id = c.campaign_id),
       (select id from dids where id = c.did_id),
       (select id from clients where id = $3::int),
       (select id from campaign_client_settings where id = $4::int),
       c.incoming_did_number, c.caller_id_num, c.caller_id_name, c.started_at,
       $5::timestamptz, $2, $6::int, $7::int, $8, $9::int, $10,
       c.asterisk_uniqueid, c.asterisk_linkedid, case when not $12 then c.refusal_reason end, $11::int,
       coalesce(c.server_name, c.likely_server_name), $13::text
from call c
on conflict (id, timestamp_start) do update
set timestamp_end = excluded.timestamp_end, duration_seconds = excluded.duration_seconds,
    refusal_reason = excluded.refusal_reason, attempts = excluded.attempts, server_name = excluded.server_name,
    hangup_by = excluded.hangup_by,
    -- What was logged at a refusal stands, unless the call was routed after all.
    (timestamp_answered, billsec_seconds, client_id, campaign_client_setting_id, call_status,
     hangup_cause_code, hangup_cause_text) = (
        select l.timestamp_answered, l.billsec_seconds, l.client_id, l.campaign_client_setting_id,
               l.call_status, l.hangup_cause_code, l.hangup_cause_text
        from (values
            (true, call_logs.timestamp_answered, call_logs.billsec_seconds, call_logs.client_id,
             call_logs.campaign_client_setting_id, call_logs.call_status,
             call_logs.hangup_cause_code, call_logs.hangup_cause_text),
            (false, excluded.timestamp_answered, excluded.billsec_seconds, excluded.client_id,
             excluded.campaign_client_setting_id, excluded.call_status,
             excluded.hangup_cause_code, excluded.hangup_cause_text)
        ) l (refused, timestamp_answered, billsec_seconds, client_id, campaign_client_setting_id,
             call_status, hangup_cause_code, hangup_cause_text)
        where l.refused = (excluded.refusal_reason is not null))
returning id
