-- Asks the daemons that watch an Asterisk ($3) to end a call ($2) of a seller ($1), or of none, within $4 seconds.
insert into hangup_orders (user_id, call_id, server_name, expires_at)
values ($1::int, $2::bigint, $3::text, clock_timestamp() + make_interval(secs => $4::float8))
returning order_id
