-- Locks the recording that is due to be deleted longest: its time was over before $1, nobody holds it, and its files
-- are where we can reach them ($2). Not one of those that failed just now ($3).
select recording_id, stem
from recordings
where delete_after < $1 and state <> 'deleted' and hold_reason is null
  and (location is null or location = $2) and recording_id <> all ($3::bigint[])
order by delete_after
limit 1
for update skip locked
