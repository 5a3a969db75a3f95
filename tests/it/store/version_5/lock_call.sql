-- Locks the call that is under way under a unique id ($1): whoever settles it next waits. Its attempts are
-- read by the next statement, which sees what was committed while this one waited.
select call_id, asterisk_uniqueid, channel, incoming_did_number, caller_id_num, started_at, refused_at,
       refusal_reason, over_at
from calls
where uniqueid_under_way = $1
for update
