-- Calls ($2) whose channels were seen on a server ($1) are that server's from now on.
update calls set server_name = $1
where call_id = any ($2::bigint[]) and server_name is null and ended_at is null
