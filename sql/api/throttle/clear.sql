-- Forgets the failed logins of a subject ($1).
delete from login_failures where subject = $1
