-- Daemon $3 ends, at $4, in the middle of attempt $2 at job $1: the next may begin at once, and this one does not
-- count. It keeps its number, which tells late results of it from those of the next.
update transcription_jobs
set state = 'queued', max_attempts = max_attempts + 1, not_before = $4, lease_expires_at = null
where job_id = $1 and attempts = $2 and node_name = $3 and state = 'running'
returning job_id
