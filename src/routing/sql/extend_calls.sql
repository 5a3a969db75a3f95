-- Calls ($1) that are seen alive are not ended by their hard limit.
update calls set expires_at = now() + interval '2 hours'
where call_id = any ($1::bigint[]) and ended_at is null and expires_at < now() + interval '1 hour'
