-- A new account. $8: its password must be changed at the first log-in.
insert into users (username, email, password_hash, role, status, full_name, company_name, must_change_password)
values ($1, $2, $3, $4, $5, $6::text, $7::text, $8)
returning id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
