-- Attempt $2 of daemon $3 at job $1 ended at $4 without result, for reason $5, in words $6. `once` ($7): another
-- attempt would end the same way. `free` ($8): it was no fault of the job's, so that the attempt does not count, up to
-- a limit: a job that takes its transcriber with it, however it does, comes to an end. $9 is the first pause in
-- seconds; pauses double up to an hour.
update transcription_jobs
set (state, finished_at, max_attempts, not_before, lease_expires_at, error_code, error_message) = (
    select case when over then 'failed' else 'queued' end,
           case when over then $4::timestamptz end,
           allowed,
           $4::timestamptz + make_interval(secs =>
               least($9::double precision * case when $8 then 1 else 2 ^ least(attempts - 1, 20) end, 3600)
               * (0.5 + random() / 2)),
           null::timestamptz, $5::text, $6::text
    from (values (max_attempts + case when $8 and attempts < 12 then 1 else 0 end)) as a (allowed)
    cross join lateral (values ($7::boolean or attempts >= allowed)) as b (over))
where job_id = $1 and attempts = $2 and node_name = $3 and state = 'running'
returning state
