-- Frees a key ($2: its SHA-256 in hex) of a user ($1), if its attempt is still this one ($3): the same request may
-- be tried again.
delete from idempotency_keys
where user_id = $1 and idempotency_key = $2 and created_at = $3 and status is null
