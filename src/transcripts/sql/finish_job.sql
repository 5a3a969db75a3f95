-- The result of attempt $2 of daemon $3 at job $1, at $4: transcript, segments, and the job done. All of it or, where
-- the job is not that daemon's any more or the recording was deleted, nothing. Whoever deletes the recording waits
-- for the lock of its row or is waited for.
with recording as (
    select r.recording_id
    from recordings r
    where r.recording_id = (select recording_id from transcription_jobs where job_id = $1) and r.state = 'stored'
    for share
), held as (
    update transcription_jobs j
    set state = 'done', finished_at = $4, lease_expires_at = null, error_code = null, error_message = null,
        progress_ms = $5
    from recording r
    where j.job_id = $1 and j.attempts = $2 and j.node_name = $3 and j.state = 'running'
      and j.recording_id = r.recording_id
    returning j.recording_id, j.call_id, j.user_id, j.language
), transcript as (
    insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models, audio_ms, words,
                             confidence, masked, created_at, search)
    select recording_id, call_id, user_id, language, $6, $7, $8, $5, $9, $10, $11, $4,
           to_tsvector(transcript_dictionary('en'), $12) || to_tsvector(transcript_dictionary('hi'), $13)
    from held
    returning recording_id, user_id
), segments as (
    insert into transcript_segments (recording_id, segment, user_id, speaker, language, start_ms, end_ms, text,
                                     confidence, words)
    select t.recording_id, s.segment, t.user_id, s.speaker, s.language, s.start_ms, s.end_ms, s.text, s.confidence,
           s.words
    from transcript t
    cross join unnest($14::text[], $15::text[], $16::bigint[], $17::bigint[], $18::text[], $19::real[], $20::jsonb[])
        with ordinality as s (speaker, language, start_ms, end_ms, text, confidence, words, segment)
)
select recording_id from held
