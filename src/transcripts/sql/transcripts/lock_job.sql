-- A job ($1), to be changed, and whether its recording can be transcribed. Should that be deleted meanwhile, the job
-- is deleted with it.
select j.job_id, j.recording_id, j.call_id, j.user_id, j.language, j.state, j.priority, j.attempts, j.max_attempts,
       j.not_before, j.node_name, j.lease_expires_at, j.progress_ms, j.error_code, j.error_message, j.created_at,
       j.started_at, j.finished_at,
       r.state = 'stored' and not coalesce(r.delete_after <= now() and r.hold_reason is null, false) as stored
from transcription_jobs j
join recordings r on r.recording_id = j.recording_id
where j.job_id = $1
for no key update of j
