-- As call_under_way, with its row locked: whoever settles this call next waits.
select call_id, asterisk_uniqueid, channel, server_name, node_name, user_id, campaign_id, did_id, incoming_did_number,
       caller_id_num, started_at, refused_at, refusal_reason
from calls
where asterisk_uniqueid = $1 and ended_at is null
for update
