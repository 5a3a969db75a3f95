-- Recordings, newest first, after the one at which the page before ended ($1; null: from the newest): of one state
-- ($2), held or not ($3), of a seller ($4), a campaign ($5), a call ($6), begun from $7 and before $8, each if it is
-- given; $9 of them.
select r.recording_id, r.call_id, r.attempt, r.user_id, u.username, r.campaign_id, c.name as campaign_name, r.state,
       r.language, r.mask_numbers, r.started_at, r.expected_at, r.stored_at, r.deleted_at, r.location, r.duration_ms,
       r.repaired, r.retention_days, r.delete_after, r.hold_reason, r.remark,
       coalesce((select jsonb_agg(jsonb_build_object('leg', f.leg, 'key', f.object_key, 'bytes', f.bytes,
                                                     'sha256', encode(f.sha256, 'hex'), 'sampleRate', f.sample_rate,
                                                     'durationMs', f.duration_ms) order by f.leg)
                 from recording_files f where f.recording_id = r.recording_id), '[]') as files,
       (select j.state from transcription_jobs j where j.recording_id = r.recording_id) as job_state
from recordings r
left join users u on u.id = r.user_id
left join campaigns c on c.id = r.campaign_id
where ($1::bigint is null or r.recording_id < $1)
  and ($2::text is null or r.state = $2)
  and ($3::boolean is null or (r.hold_reason is not null) = $3)
  and ($4::int is null or r.user_id = $4)
  and ($5::int is null or r.campaign_id = $5)
  and ($6::bigint is null or r.call_id = $6)
  and ($7::timestamptz is null or r.started_at >= $7)
  and ($8::timestamptz is null or r.started_at < $8)
order by r.recording_id desc
limit $9
