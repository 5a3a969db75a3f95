-- One account ($1).
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
from users where id = $1
