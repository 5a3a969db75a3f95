-- A new account.
insert into users (username, email, password_hash, role, status, full_name, company_name)
values ($1, $2, $3, $4, $5, $6::text, $7::text)
returning id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
