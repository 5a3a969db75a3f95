-- A recording ($1) is no more, since $2: of it and what was said remains that there was one.
with transcript as (
    delete from transcripts where recording_id = $1
), job as (
    delete from transcription_jobs where recording_id = $1
), files as (
    delete from recording_files where recording_id = $1
)
update recordings set state = 'deleted', deleted_at = $2 where recording_id = $1 and state <> 'deleted'
