-- What an observer saw of an attempt ($1, $2) that is not known to be answered, until the dialplan has its
-- say; or what the dialplan says of one that was closed before.
update call_attempts_recent
set dial_status = $3, hangup_cause_code = coalesce($4, hangup_cause_code)
where call_id = $1 and attempt = $2 and answered_at is null
