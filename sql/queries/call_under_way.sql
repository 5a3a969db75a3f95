-- The call that is under way under a unique id ($1). With its row locked all that settles this call
-- waits its turn.
select call_id, asterisk_uniqueid, channel, server_name, node_name, user_id, campaign_id, did_id, incoming_did_number,
       caller_id_num, started_at, refused_at, refusal_reason
from calls
where asterisk_uniqueid = $1 and ended_at is null
