-- How many DIDs there are of one status ($1), one seller ($2), or with this key ($3).
select count(*) as total
from dids
where ($1::text is null or status = $1) and ($2::int is null or user_id = $2)
  and ($3::text is null or did_key(number) = $3)
