-- Job $1 is still being worked on by daemon $3 in attempt $2: its lease is good until $4, so much has been heard ($5).
-- No row: it is not that daemon's any more.
update transcription_jobs
set lease_expires_at = $4, progress_ms = $5
where job_id = $1 and attempts = $2 and node_name = $3 and state = 'running'
returning job_id
