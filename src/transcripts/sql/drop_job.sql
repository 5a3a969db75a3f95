-- The recording of job $1, which daemon $3 had in attempt $2, is gone, seen at $4: there is nothing to do.
update transcription_jobs
set state = 'cancelled', finished_at = $4, lease_expires_at = null
where job_id = $1 and attempts = $2 and node_name = $3 and state = 'running'
returning job_id
