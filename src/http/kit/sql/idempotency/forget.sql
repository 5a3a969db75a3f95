-- Forgets answers that are $1 seconds old.
delete from idempotency_keys where created_at < now() - make_interval(secs => $1::float8)
