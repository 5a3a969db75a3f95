-- Renews the session of a remember token ($1: its SHA-256) with new tokens ($2 of the session, $3 to remember).
-- Lengths of time ($4 idle, $5 in all) in seconds; $6: where it is used. Of several at once one succeeds. `fresh`: it
-- proved who it is, by password, within $7 seconds.
with resumed as (
    update sessions s
    set token_hash = $2, remember_hash = $3, last_seen_at = now(),
        idle_expires_at = now() + make_interval(secs => $4), expires_at = now() + make_interval(secs => $5),
        address = $6
    from users u
    where s.remember_hash = $1 and s.remember_expires_at > now() and u.id = s.user_id and u.status = 'active'
    returning s.session_id, s.user_id, u.username, u.role, u.must_change_password,
              coalesce(s.authenticated_at, s.created_at) > now() - make_interval(secs => $7::float8) as fresh,
              extract(epoch from s.remember_expires_at - now())::float8 as remember_seconds
), replaced as (
    insert into replaced_remember_tokens (token_hash, session_id) select $1, session_id from resumed
)
select session_id, user_id, username, role, remember_seconds, must_change_password, fresh,
       exists (select from totp_secrets t where t.user_id = resumed.user_id and t.confirmed_at is not null) as has_factor
from resumed
