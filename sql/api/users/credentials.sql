-- The account with a name ($1), with the hash of its password.
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at, password_hash
from users where username = $1
