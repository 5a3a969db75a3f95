-- A call that was over before it was routed ($1) gives its unique id free. Its row is in the log.
update calls set ended_at = over_at where call_id = $1 and ended_at is null and over_at is not null
returning call_id
