-- The living session of a token ($1: its SHA-256), if its account is active.
select s.session_id, s.user_id, u.username, u.role
from sessions s join users u on u.id = s.user_id
where s.token_hash = $1 and s.idle_expires_at > now() and s.expires_at > now() and u.status = 'active'
