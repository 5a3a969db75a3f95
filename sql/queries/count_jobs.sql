-- Jobs by state, counted up to a million.
select state, (select count(*) from (
    select from transcription_jobs j where j.state = known.state limit 1000000) counted) as jobs
from unnest(array['waiting', 'queued', 'running', 'done', 'failed', 'cancelled']) as known (state)
