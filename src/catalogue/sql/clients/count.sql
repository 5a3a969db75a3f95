-- How many clients there are, of one status ($1), one access ($2), with a text ($3) in identifier, name or department.
select count(*) as total
from clients c
where ($1::text is null or c.status = $1) and ($2::text is null or c.access = $2)
  and ($3::text is null or position(lower($3) in lower(c.name)) > 0
       or position(lower($3) in lower(c.client_identifier)) > 0 or position(lower($3) in lower(c.department)) > 0)
