-- Changes an account ($1): e-mail address, role and status if given; full name to $6 if $5, company to $8 if $7, whether it
-- sees callers if $9 is given.
update users
set email = coalesce($2::text, email), role = coalesce($3::text, role), status = coalesce($4::text, status),
    full_name = case when $5::boolean then $6::text else full_name end,
    company_name = case when $7::boolean then $8::text else company_name end,
    callers_shown = coalesce($9::boolean, callers_shown),
    updated_at = now()
where id = $1
returning id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
