-- Whether the session ($3) or API key ($4) that a caller came with still lives, and its account ($1) is active and
-- has the same role ($2).
select exists (
    select from users u
    where u.id = $1 and u.status = 'active' and u.role = $2
      and (exists (select from sessions s
                   where s.session_id = $3::bigint and s.user_id = u.id
                     and s.idle_expires_at > now() and s.expires_at > now())
           or exists (select from api_keys k
                      where k.key_id = $4::bigint and k.user_id = u.id and k.revoked_at is null and k.role = u.role
                        and (k.expires_at is null or k.expires_at > now())))) as holds
