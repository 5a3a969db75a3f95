-- Queues a job ($1) for three more attempts, in another language ($2) or with another priority ($3) if given. Attempts are
-- counted on: their numbers name leases, and none may come twice.
update transcription_jobs
set state = 'queued', max_attempts = attempts + 3, not_before = now(), node_name = null, lease_expires_at = null,
    progress_ms = null, error_code = null, error_message = null, started_at = null, finished_at = null,
    language = coalesce($2::text, language), priority = coalesce($3::int, priority)
where job_id = $1
