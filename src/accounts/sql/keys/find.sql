-- The key with a prefix ($1), with its account. A key that was made for another role than the account has opens nothing.
select k.key_id, k.user_id, k.secret_hash, k.scopes, u.username, u.role,
       k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) and u.status = 'active'
           and k.role = u.role as usable,
       coalesce(k.last_used_at <= now() - interval '1 minute', true) as stale
from api_keys k join users u on u.id = k.user_id
where k.prefix = $1
