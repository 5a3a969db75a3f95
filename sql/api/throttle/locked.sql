-- Seconds until the last of some subjects ($1) may log in again; 0 if none is locked.
select coalesce(max(extract(epoch from locked_until - now())), 0)::float8 as wait
from login_failures where subject = any($1) and locked_until > now()
