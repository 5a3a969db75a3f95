-- A call of the log ($2), if it is of the seller $1 (null: of anybody), with its recording, the job of that and
-- whether there is a transcript. Of several recordings it is that of the attempt $3, else a stored one before
-- others, the latest first; without one its columns are null. What is due to be deleted counts as gone.
select l.id as call_id, r.recording_id, r.attempt, r.state, r.language, r.started_at, r.stored_at, r.delete_after,
       r.location, r.duration_ms, coalesce(r.delete_after <= now() and r.hold_reason is null, false) as due,
       coalesce((select jsonb_agg(jsonb_build_object('leg', f.leg, 'key', f.object_key, 'bytes', f.bytes,
                                                     'sha256', encode(f.sha256, 'hex'), 'sampleRate', f.sample_rate,
                                                     'durationMs', f.duration_ms) order by f.leg)
                 from recording_files f
                 where f.recording_id = r.recording_id and ($1::int is null or f.user_id = $1)), '[]') as files,
       j.job_id, j.state as job_state, j.language as job_language, j.priority, j.attempts, j.max_attempts,
       j.not_before, j.node_name, j.lease_expires_at, j.progress_ms, j.error_code, j.error_message, j.created_at,
       j.started_at as job_started_at, j.finished_at, j.user_id as job_user_id,
       exists (select from transcripts t
               where t.recording_id = r.recording_id and ($1::int is null or t.user_id = $1)) as transcribed
from call_logs l
left join lateral (
    select one.recording_id, one.attempt, one.state, one.language, one.started_at, one.stored_at, one.delete_after,
           one.location, one.duration_ms, one.hold_reason
    from recordings one
    where one.call_id = l.id and ($1::int is null or one.user_id = $1) and ($3::int is null or one.attempt = $3)
    order by one.state = 'stored' desc, one.attempt desc
    limit 1
) r on true
left join transcription_jobs j on j.recording_id = r.recording_id and ($1::int is null or j.user_id = $1)
where l.id = $2 and ($1::int is null or l.user_id = $1)
