-- Sessions of a user ($1) that live, or that a remember cookie can still renew; the last seen first.
select session_id, created_at, last_seen_at, address, user_agent,
       greatest(least(idle_expires_at, expires_at), remember_expires_at) as ends_at
from sessions
where user_id = $1 and greatest(least(idle_expires_at, expires_at), remember_expires_at) > now()
order by last_seen_at desc, session_id desc
limit 500
