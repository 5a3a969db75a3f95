-- What to listen to for a job on recording $1: nothing if its files are not there any more.
select r.mask_numbers, r.location, r.duration_ms, f.leg, f.object_key, f.duration_ms as leg_duration_ms
from recordings r
left join recording_files f on f.recording_id = r.recording_id and f.leg in ('caller', 'agent')
where r.recording_id = $1 and r.state = 'stored'
order by f.leg desc
