-- A call that was over before it was routed ($1) gives its unique id free. Its row is in the log.
update calls set over_at = null where call_id = $1 and over_at is not null
