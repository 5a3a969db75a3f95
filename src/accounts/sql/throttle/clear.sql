-- Forgets the failed logins of subjects ($1).
delete from login_failures where subject = any($1::text[])
