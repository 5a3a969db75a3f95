-- A new key of a user ($1), for the role ($7) that the account has now.
insert into api_keys (user_id, name, prefix, secret_hash, scopes, expires_at, role)
values ($1, $2::text, $3, $4, $5, $6::timestamptz, $7)
returning key_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at, array[]::text[] as networks
