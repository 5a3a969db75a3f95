-- One account ($1), to be changed.
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
from users where id = $1 for update
