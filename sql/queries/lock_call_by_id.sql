-- As lock_call, by our own id ($1).
select call_id, asterisk_uniqueid, channel, incoming_did_number, caller_id_num, started_at, refused_at,
       refusal_reason, over_at
from calls
where call_id = $1 and ended_at is null
for update
