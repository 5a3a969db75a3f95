-- Which of these languages ($1) have recordings in the queue of transcription. A look at the queue's index for each.
select wanted.language
from unnest($1::text[]) as wanted (language)
where exists (select from transcription_jobs j where j.state = 'queued' and j.language = wanted.language)
