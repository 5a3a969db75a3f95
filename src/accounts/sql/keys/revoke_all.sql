-- Revokes all keys of a user ($1).
update api_keys set revoked_at = now() where user_id = $1 and revoked_at is null returning key_id
