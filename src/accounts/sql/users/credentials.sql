-- The account with a name ($1), with the hash of its password, and what its log-in needs beside it.
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at, password_hash,
       must_change_password,
       exists (select from totp_secrets t where t.user_id = users.id and t.confirmed_at is not null) as has_factor
from users where username = $1
