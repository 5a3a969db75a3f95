-- Keeps the answer to the request of a key ($2: its SHA-256 in hex) of a user ($1), if its attempt is still this
-- one ($3).
update idempotency_keys set status = $4, headers = $5::jsonb, body = $6
where user_id = $1 and idempotency_key = $2 and created_at = $3 and status is null
returning created_at
