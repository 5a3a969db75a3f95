-- Forgets tries older than the longest lock.
delete from login_tries where last_at < now() - interval '1 day'
