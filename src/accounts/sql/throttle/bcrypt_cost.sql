-- The highest cost of a bcrypt hash that an account has; null if none has one.
select max(substr(password_hash, 5, 2)::int) as cost from users
where password_hash ~ '^\$2[aby]\$(0[4-9]|1[0-7])\$'
