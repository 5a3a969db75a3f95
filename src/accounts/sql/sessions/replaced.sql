-- The session whose remember token ($1: its SHA-256) was replaced, and whether less than $2 seconds ago. `fresh`: it
-- proved who it is within $3 seconds.
select s.session_id, s.user_id, u.username, u.role, u.must_change_password,
       exists (select from totp_secrets t where t.user_id = u.id and t.confirmed_at is not null) as has_factor,
       coalesce(s.authenticated_at, s.created_at) > now() - make_interval(secs => $3::float8) as fresh,
       r.replaced_at > now() - make_interval(secs => $2) and u.status = 'active'
           and s.idle_expires_at > now() and s.expires_at > now() as usable,
       r.replaced_at <= now() - make_interval(secs => $2) as late
from replaced_remember_tokens r join sessions s using (session_id) join users u on u.id = s.user_id
where r.token_hash = $1
