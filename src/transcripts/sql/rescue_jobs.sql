-- Jobs whose daemon does not extend their lease any more, at $1: queued again, or failed when their attempts are used
-- up. $2 is the first pause in seconds.
update transcription_jobs j
set state = case when j.attempts >= j.max_attempts then 'failed' else 'queued' end,
    finished_at = case when j.attempts >= j.max_attempts then $1::timestamptz end,
    not_before = $1::timestamptz + make_interval(secs =>
        least($2::double precision * 2 ^ least(j.attempts - 1, 20), 3600) * (0.5 + random() / 2)),
    lease_expires_at = null,
    error_code = 'worker_lost',
    error_message = 'daemon ' || j.node_name || ' was not heard of any more in the middle of it'
where j.job_id in (
    select job_id from transcription_jobs where state = 'running' and lease_expires_at < $1
    order by job_id limit 500 for update skip locked)
  and j.state = 'running' and j.lease_expires_at < $1
returning j.job_id, j.state, j.node_name
