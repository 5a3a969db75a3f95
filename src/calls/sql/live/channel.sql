-- The caller's channel of a call ($2) of a seller ($1), or anybody's, that is under way, and the Asterisk it was seen on.
select asterisk_uniqueid, channel, channel_created_at, server_name, system_name, seen_by
from calls
where call_id = $2 and ($1::int is null or user_id = $1) and ended_at is null
