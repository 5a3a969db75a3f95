-- Calls ($2) whose channels, made at $3, were seen on a server ($1) by daemon $4 are that server's from now on.
update calls c set server_name = $1, seen_by = $4, channel_created_at = s.created_at
from unnest($2::bigint[], $3::timestamptz[]) s (call_id, created_at)
where c.call_id = s.call_id and c.server_name is null and c.ended_at is null
