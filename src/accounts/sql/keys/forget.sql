-- Forgets keys a year after they could last be used.
delete from api_keys where least(revoked_at, expires_at) < now() - interval '1 year'
