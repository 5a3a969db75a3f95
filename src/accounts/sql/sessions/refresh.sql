-- A session ($2) of a user ($1) has proved who it is, if the account still has the password hash that was checked ($3).
update sessions s set authenticated_at = now()
from users u
where s.session_id = $2 and s.user_id = $1 and u.id = s.user_id and u.status = 'active' and u.password_hash = $3
returning s.session_id
