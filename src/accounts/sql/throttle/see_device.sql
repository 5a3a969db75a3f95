-- Notes that a known browser ($2: the SHA-256 of its token) logged in to an account ($1) again.
update login_devices set last_seen_at = now() where user_id = $1 and token_hash = $2 returning device_id
