-- DIDs of all sellers, of one status ($1), one seller ($2), or the one with this key ($3), by id; rows $4, beginning
-- after $5.
select d.id, d.number, d.status, d.description, d.created_at, d.updated_at, d.user_id, u.username
from dids d
join users u on u.id = d.user_id
where ($1::text is null or d.status = $1) and ($2::int is null or d.user_id = $2)
  and ($3::text is null or did_key(d.number) = $3)
order by d.id
limit $4 offset $5
