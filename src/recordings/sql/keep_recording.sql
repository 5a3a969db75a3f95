-- The files of an attempt ($1 its stem, $2 call, $3 attempt) are stored at a place ($4) since $5: $6 how long it
-- sounds, $7 whether a header was repaired, $8 a remark; $9 to $14 leg, key, bytes, digest, sample rate, length of
-- each file. Writes that down and queues the job. Done twice, it is done once; nothing is returned where the
-- recording was deleted, or the attempt is unknown.
--
-- An attempt nobody saw answered has no row yet. It gets what the campaign wants now; of a campaign that was
-- deleted meanwhile the careful settings.
with attempt as (
    select a.call_id, a.attempt, a.user_id, a.recording_stem, c.campaign_id,
           coalesce(a.answered_at, a.offered_at) as started_at
    from call_attempts a
    left join calls c on c.call_id = a.call_id
    where a.call_id = $2 and a.attempt = $3 and a.recording_stem = $1::text
), kept as (
    insert into recordings as r (call_id, attempt, user_id, campaign_id, stem, state, language, mask_numbers,
                                 started_at, expected_at, stored_at, location, duration_ms, repaired, remark,
                                 retention_days, delete_after)
    select a.call_id, a.attempt, a.user_id, a.campaign_id, a.recording_stem, 'stored',
           coalesce(g.recording_language, 'en'), coalesce(g.mask_numbers, true),
           a.started_at, $5::timestamptz, $5::timestamptz, $4::text, $6::bigint, $7::boolean, $8::text,
           g.recording_retention_days, $5::timestamptz + make_interval(days => g.recording_retention_days)
    from attempt a
    left join campaigns g on g.id = a.campaign_id
    on conflict (call_id, attempt) do update
    set state = 'stored', stored_at = coalesce(r.stored_at, $5::timestamptz), location = $4::text,
        duration_ms = greatest(r.duration_ms, $6::bigint), repaired = r.repaired or $7::boolean, remark = $8::text,
        delete_after = coalesce(r.delete_after, $5::timestamptz + make_interval(days => r.retention_days))
    where r.state <> 'deleted'
    returning recording_id, call_id, user_id, language
), files as (
    insert into recording_files as f (recording_id, leg, user_id, object_key, bytes, sha256, sample_rate,
                                      duration_ms)
    select k.recording_id, w.leg, k.user_id, w.object_key, w.bytes, w.sha256, w.sample_rate, w.duration_ms
    from kept k
    cross join unnest($9::text[], $10::text[], $11::bigint[], $12::bytea[], $13::int[], $14::bigint[])
        w (leg, object_key, bytes, sha256, sample_rate, duration_ms)
    on conflict (recording_id, leg) do update
    set object_key = excluded.object_key, bytes = excluded.bytes, sha256 = excluded.sha256,
        sample_rate = excluded.sample_rate, duration_ms = excluded.duration_ms
), job as (
    insert into transcription_jobs as j (recording_id, call_id, user_id, language, state, not_before, created_at)
    select recording_id, call_id, user_id, language, 'queued', $5::timestamptz, $5::timestamptz
    from kept
    on conflict (recording_id) do update
    set state = 'queued', not_before = $5::timestamptz, finished_at = null, error_code = null, error_message = null
    where j.state = 'waiting'
       or j.state = 'cancelled' and j.error_code in ('recording_missing', 'recording_empty')
)
select recording_id from kept
