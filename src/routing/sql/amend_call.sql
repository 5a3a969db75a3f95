-- Corrects the record of a call ($1) that was closed without a report, by the report that came after all: as close_call,
-- whose values these are, without the time of the end, which was seen. What the log says of a refused call stands unless
-- $10. Returns a row if the record was about another outcome or target.
--
-- $2 client and $3 link of the target, $4 when it was answered, $5 seconds billed, $6 status, $7 and $8 cause, $9 attempts,
-- $11 who ended it.
with call as (
    update calls set end_reported = true
    where call_id = $1 and ended_at is not null and not end_reported
    returning call_id, started_at, refusal_reason
), was as materialized (
    select l.id, l.timestamp_start, l.call_status, l.campaign_client_setting_id
    from call_logs l join call c on l.id = c.call_id and l.timestamp_start = c.started_at
    where c.refusal_reason is null or $10::boolean
)
update call_logs l
set client_id = (select id from clients where id = $2::int),
    campaign_client_setting_id = (select id from campaign_client_settings where id = $3::int),
    timestamp_answered = $4::timestamptz, billsec_seconds = least($5::int, l.duration_seconds), call_status = $6,
    hangup_cause_code = coalesce($7::int, l.hangup_cause_code),
    hangup_cause_text = case when $7::int is null then l.hangup_cause_text else $8 end,
    attempts = $9::int, refusal_reason = case when not $10 then l.refusal_reason end,
    hangup_by = coalesce($11::text, l.hangup_by)
from was
where l.id = was.id and l.timestamp_start = was.timestamp_start
returning was.call_status is distinct from l.call_status
          or was.campaign_client_setting_id is distinct from l.campaign_client_setting_id as is_other
