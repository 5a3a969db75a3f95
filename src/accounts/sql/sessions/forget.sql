-- Forgets sessions that have ended and that nothing can renew.
delete from sessions where remember_expires_at < now() and least(idle_expires_at, expires_at) < now()
