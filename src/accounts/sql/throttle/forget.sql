-- Forgets failed logins older than the longest lock.
delete from login_failures where last_at < now() - interval '1 day' and coalesce(locked_until, last_at) < now()
