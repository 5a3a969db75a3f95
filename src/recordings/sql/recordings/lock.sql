-- A recording ($1), to be changed.
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
where r.recording_id = $1
for no key update of r
