-- Recordings in the order $9, after the one at which the page before ended ($1 its id; $10 its time or $11 its number, by
-- which it is ordered; null: from the beginning): of one state ($2), held or not ($3), of a seller ($4), a campaign ($5),
-- a call ($6), begun from $7 and before $8, with a text ($12) in the name of seller, campaign or files, in the reason it
-- is held or in the remark, each if it is given; $13 of them. It is planned for the values at hand, so that each order
-- finds its index. What has no length comes before all, what is never deleted after all.
with page as materialized (
    select r.recording_id, r.call_id, r.attempt, r.user_id, u.username, r.campaign_id, c.name as campaign_name, r.state,
           r.language, r.mask_numbers, r.started_at, r.expected_at, r.stored_at, r.deleted_at, r.location, r.duration_ms,
           r.repaired, r.retention_days, r.delete_after, r.hold_reason, r.remark,
           coalesce(r.duration_ms, -1) as length,
           coalesce(r.delete_after, timestamptz '9999-12-30 00:00:00+00') as deletion
    from recordings r
    left join users u on u.id = r.user_id
    left join campaigns c on c.id = r.campaign_id
    where ($2::text is null or r.state = $2)
      and ($3::boolean is null or (r.hold_reason is not null) = $3)
      and ($4::int is null or r.user_id = $4)
      and ($5::int is null or r.campaign_id = $5)
      and ($6::bigint is null or r.call_id = $6)
      and ($7::timestamptz is null or r.started_at >= $7)
      and ($8::timestamptz is null or r.started_at < $8)
      and ($12::text is null
           or position(lower($12) in lower(u.username)) > 0
           or position(lower($12) in lower(c.name)) > 0
           or position(lower($12) in lower(r.stem)) > 0
           or position(lower($12) in lower(r.hold_reason)) > 0
           or position(lower($12) in lower(r.remark)) > 0)
      and ($1::bigint is null
           or $9::text = '-id' and r.recording_id < $1
           or $9 = 'id' and r.recording_id > $1
           or $9 = '-startedAt' and (r.started_at, r.recording_id) < ($10::timestamptz, $1)
           or $9 = 'startedAt' and (r.started_at, r.recording_id) > ($10, $1)
           or $9 = '-durationMs' and (coalesce(r.duration_ms, -1), r.recording_id) < ($11::bigint, $1)
           or $9 = 'durationMs' and (coalesce(r.duration_ms, -1), r.recording_id) > ($11, $1)
           or $9 = '-deleteAfter'
              and (coalesce(r.delete_after, timestamptz '9999-12-30 00:00:00+00'), r.recording_id) < ($10, $1)
           or $9 = 'deleteAfter'
              and (coalesce(r.delete_after, timestamptz '9999-12-30 00:00:00+00'), r.recording_id) > ($10, $1))
    order by case when $9 = '-startedAt' then r.started_at end desc,
             case when $9 = 'startedAt' then r.started_at end,
             case when $9 = '-durationMs' then coalesce(r.duration_ms, -1) end desc,
             case when $9 = 'durationMs' then coalesce(r.duration_ms, -1) end,
             case when $9 = '-deleteAfter' then coalesce(r.delete_after, timestamptz '9999-12-30 00:00:00+00') end desc,
             case when $9 = 'deleteAfter' then coalesce(r.delete_after, timestamptz '9999-12-30 00:00:00+00') end,
             case when $9 like '-%' then r.recording_id end desc,
             case when $9 not like '-%' then r.recording_id end
    limit $13
)
select p.recording_id, p.call_id, p.attempt, p.user_id, p.username, p.campaign_id, p.campaign_name, p.state, p.language,
       p.mask_numbers, p.started_at, p.expected_at, p.stored_at, p.deleted_at, p.location, p.duration_ms, p.repaired,
       p.retention_days, p.delete_after, p.hold_reason, p.remark,
       coalesce((select jsonb_agg(jsonb_build_object('leg', f.leg, 'key', f.object_key, 'bytes', f.bytes,
                                                     'sha256', encode(f.sha256, 'hex'), 'sampleRate', f.sample_rate,
                                                     'durationMs', f.duration_ms) order by f.leg)
                 from recording_files f where f.recording_id = p.recording_id), '[]') as files,
       (select j.state from transcription_jobs j where j.recording_id = p.recording_id) as job_state
from page p
order by case when $9 = '-startedAt' then p.started_at end desc,
         case when $9 = 'startedAt' then p.started_at end,
         case when $9 = '-durationMs' then p.length end desc,
         case when $9 = 'durationMs' then p.length end,
         case when $9 = '-deleteAfter' then p.deletion end desc,
         case when $9 = 'deleteAfter' then p.deletion end,
         case when $9 like '-%' then p.recording_id end desc,
         case when $9 not like '-%' then p.recording_id end
