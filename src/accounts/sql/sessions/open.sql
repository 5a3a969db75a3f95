-- A new session of a user ($1), if the account is active and its password hash still the one that was
-- checked ($9): a change of password under way is waited for. Lengths of time ($4 idle, $5 in all,
-- $6 remember) in seconds.
insert into sessions (user_id, token_hash, remember_hash, idle_expires_at, expires_at, remember_expires_at,
                      address, user_agent, authenticated_at)
select u.id, $2, $3, now() + make_interval(secs => $4), now() + make_interval(secs => $5),
       now() + make_interval(secs => $6), $7::text, $8::text, now()
from users u
where u.id = $1 and u.status = 'active' and u.password_hash = $9
for share
returning session_id
