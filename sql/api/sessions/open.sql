-- A new session of a user ($1). Lengths of time ($4 idle, $5 in all, $6 remember) in seconds.
insert into sessions (user_id, token_hash, remember_hash, idle_expires_at, expires_at, remember_expires_at,
                      address, user_agent)
values ($1, $2, $3, now() + make_interval(secs => $4), now() + make_interval(secs => $5),
        now() + make_interval(secs => $6), $7, $8)
returning session_id
