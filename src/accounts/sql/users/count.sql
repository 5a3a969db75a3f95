-- How many accounts there are of one role ($1), one status ($2), with a text ($3) in names, company or e-mail address.
select count(*) as total
from users
where ($1::text is null or role = $1) and ($2::text is null or status = $2)
  and ($3::text is null or position(lower($3) in lower(username)) > 0 or position(lower($3) in lower(email)) > 0
       or position(lower($3) in lower(full_name)) > 0 or position(lower($3) in lower(company_name)) > 0)
