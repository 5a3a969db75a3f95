-- Recordings whose files were to come and did not: all of them expected before $1, but for those with files still in
-- sight ($3), a few at a time. Their jobs have nothing to wait for. $2 now.
with late as (
    select recording_id
    from recordings
    where state = 'expected' and expected_at < $1 and stem <> all ($3::text[])
    order by expected_at
    limit 200
    for update skip locked
), missing as (
    update recordings r set state = 'missing', remark = 'no file came'
    from late l where r.recording_id = l.recording_id
    returning r.recording_id, r.stem
), job as (
    update transcription_jobs j
    set state = 'cancelled', finished_at = $2, error_code = 'recording_missing',
        error_message = 'the files of the recording did not come'
    from missing m where j.recording_id = m.recording_id and j.state = 'waiting'
)
select stem from missing
