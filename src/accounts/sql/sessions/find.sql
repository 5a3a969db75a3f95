-- The session of a token ($1: its SHA-256), and whether it lives and its account is active. Notes that it was seen, and
-- lets it live for $2 seconds more, if the last time was $3 seconds ago or more. `fresh`: it proved
-- who it is within $4 seconds.
with found as (
    select s.session_id, s.user_id, u.username, u.role, s.last_seen_at, u.must_change_password,
           exists (select from totp_secrets t where t.user_id = u.id and t.confirmed_at is not null) as has_factor,
           coalesce(s.authenticated_at, s.created_at) > now() - make_interval(secs => $4::float8) as fresh,
           s.idle_expires_at > now() and s.expires_at > now() and u.status = 'active' as living
    from sessions s join users u on u.id = s.user_id
    where s.token_hash = $1
), stale as (
    -- Parallel requests do not wait for each other to note the same.
    select s.session_id from sessions s join found f using (session_id)
    where f.living and s.last_seen_at <= now() - make_interval(secs => $3::float8)
    for no key update of s skip locked
), seen as (
    update sessions s set last_seen_at = now(), idle_expires_at = now() + make_interval(secs => $2::float8)
    from stale where s.session_id = stale.session_id
)
select session_id, user_id, username, role, must_change_password, has_factor, fresh, living from found
