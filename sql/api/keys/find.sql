-- The key with a prefix ($1), with its account.
select k.key_id, k.user_id, k.secret_hash, k.scopes, u.username, u.role,
       k.revoked_at is not null as revoked, coalesce(k.expires_at <= now(), false) as expired,
       u.status = 'active' as account_active,
       coalesce(k.last_used_at <= now() - interval '1 minute', true) as stale
from api_keys k join users u on u.id = k.user_id
where k.prefix = $1
