-- DIDs of a seller ($1), of one status ($2) or all, by number; rows $3, beginning after $4.
select id, number, status, description, created_at, updated_at
from dids
where user_id = $1 and ($2::text is null or status = $2)
order by number
limit $3 offset $4
