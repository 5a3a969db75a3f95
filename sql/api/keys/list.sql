-- Keys of a user ($1), the newest first; revoked ones too.
select key_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
from api_keys where user_id = $1 order by key_id desc limit 1000
