-- The files of a recording ($1 its stem) hold no sound: there is nothing to keep and nothing to transcribe. $2 now.
with empty as (
    update recordings set state = 'missing', remark = 'the files hold no sound'
    where stem = $1 and state in ('expected', 'missing')
    returning recording_id
)
update transcription_jobs j
set state = 'cancelled', finished_at = $2, error_code = 'recording_empty',
    error_message = 'the files of the recording hold no sound'
from empty e
where j.recording_id = e.recording_id
  and (j.state = 'waiting' or j.state = 'cancelled' and j.error_code = 'recording_missing')
