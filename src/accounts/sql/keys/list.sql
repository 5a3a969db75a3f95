-- Keys of a user ($1), the newest first; revoked ones too.
select key_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at,
       array(select n.network from api_key_networks n where n.key_id = k.key_id
             order by n.first_seen_at desc, n.network limit 20) as networks
from api_keys k where user_id = $1 order by key_id desc limit 1000
