-- Forgets a deleted row (column $1, id $2) that no call record refers to. Not in the first minute: a call that ended
-- while the row was deleted may not be recorded yet.
delete from deleted_references
where column_name = $1 and id = $2 and deleted_at < now() - interval '1 minute'
  and not exists (select from call_logs where $1 = 'user_id' and user_id = $2)
  and not exists (select from call_logs where $1 = 'campaign_id' and campaign_id = $2)
  and not exists (select from call_logs where $1 = 'did_id' and did_id = $2)
  and not exists (select from call_logs where $1 = 'client_id' and client_id = $2)
  and not exists (select from call_logs where $1 = 'campaign_client_setting_id' and campaign_client_setting_id = $2)
