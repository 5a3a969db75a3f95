-- Revokes a key ($2) of a user ($1), if it is not yet.
update api_keys set revoked_at = now() where user_id = $1 and key_id = $2 and revoked_at is null
returning key_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at,
          array(select n.network from api_key_networks n where n.key_id = api_keys.key_id
                order by n.first_seen_at desc, n.network limit 20) as networks
