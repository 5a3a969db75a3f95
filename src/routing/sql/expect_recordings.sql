-- Where an answered attempt of a call ($1) was recorded, its files are to come: expects them, and has a job wait
-- for them. $2 when the call ended. What the campaign wants now counts; of one that was deleted meanwhile the
-- careful settings. Attempts that are expected already stay as they are.
with expected as (
    insert into recordings (call_id, attempt, user_id, campaign_id, stem, state, language, mask_numbers,
                            started_at, expected_at, retention_days)
    select a.call_id, a.attempt, a.user_id, c.campaign_id, a.recording_stem, 'expected',
           coalesce(g.recording_language, 'en'), coalesce(g.mask_numbers, true),
           a.answered_at, $2::timestamptz, g.recording_retention_days
    from call_attempts_recent a
    join calls c on c.call_id = a.call_id
    left join campaigns g on g.id = c.campaign_id
    where a.call_id = $1 and a.recording_stem is not null and a.answered_at is not null
    on conflict do nothing
    returning recording_id, call_id, user_id, language
)
insert into transcription_jobs (recording_id, call_id, user_id, language, state, not_before, created_at)
select recording_id, call_id, user_id, language, 'waiting', $2::timestamptz, $2::timestamptz
from expected
