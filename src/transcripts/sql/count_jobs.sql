-- Jobs by state, counted up to a hundred thousand.
select state, (select count(*) from (
    select from transcription_jobs j where j.state = known.state limit 100000) counted) as jobs
from unnest(array['waiting', 'queued', 'running', 'done', 'failed', 'cancelled']) as known (state)
