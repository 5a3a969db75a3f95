-- Gives the first job in the queue whose language is one of $1 to daemon $2, at $3 and until $4. What another daemon
-- is just taking is passed over. Each language has a queue of its own in the index, so that jobs nobody can do yet
-- are not read through to find one that can be done.
with first as (
    select front.job_id
    from unnest($1::text[]) as wanted (language)
    cross join lateral (
        select j.job_id, j.priority, j.not_before
        from transcription_jobs j
        where j.state = 'queued' and j.language = wanted.language and j.not_before <= $3
        order by j.priority desc, j.not_before, j.job_id
        limit 1
        for update skip locked
    ) front
    order by front.priority desc, front.not_before, front.job_id
    limit 1
)
update transcription_jobs j
set state = 'running', attempts = j.attempts + 1, node_name = $2, started_at = $3, lease_expires_at = $4,
    progress_ms = 0
from first
where j.job_id = first.job_id
returning j.job_id, j.recording_id, j.language, j.attempts
