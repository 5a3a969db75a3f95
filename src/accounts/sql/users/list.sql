-- Accounts of one role ($1), one status ($2), with a text ($3) in names, company or e-mail address; each may be null. In
-- this order ($4); rows $5, beginning after $6.
select id, username, email, role, status, full_name, company_name, callers_shown, created_at, updated_at
from users
where ($1::text is null or role = $1) and ($2::text is null or status = $2)
  and ($3::text is null or position(lower($3) in lower(username)) > 0 or position(lower($3) in lower(email)) > 0
       or position(lower($3) in lower(full_name)) > 0 or position(lower($3) in lower(company_name)) > 0)
order by case when $4::text = 'username' then username end, case when $4 = '-username' then username end desc,
         case when $4 = 'createdAt' then created_at end, case when $4 = '-createdAt' then created_at end desc,
         case when $4 = 'updatedAt' then updated_at end, case when $4 = '-updatedAt' then updated_at end desc,
         id
limit $5 offset $6
