-- Accounts by name; rows $1, beginning after $2.
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
from users
order by username
limit $1 offset $2
