-- Jobs, newest first, after the one at which the page before ended ($1; null: from the newest): of one state ($2), in
-- a language ($3), of a seller ($4), a call ($5), each if it is given; $6 of them.
select j.job_id, j.recording_id, j.call_id, j.user_id, j.language, j.state, j.priority, j.attempts, j.max_attempts,
       j.not_before, j.node_name, j.lease_expires_at, j.progress_ms, j.error_code, j.error_message, j.created_at,
       j.started_at, j.finished_at
from transcription_jobs j
where ($1::bigint is null or j.job_id < $1)
  and ($2::text is null or j.state = $2)
  and ($3::text is null or j.language = $3)
  and ($4::int is null or j.user_id = $4)
  and ($5::bigint is null or j.call_id = $5)
order by j.job_id desc
limit $6
