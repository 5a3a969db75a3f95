-- A DID ($2) of a seller ($1), or whoever's it is.
select id, user_id, (select username from users u where u.id = user_id) as username, number, status, description, created_at,
       updated_at
from dids
where ($1::int is null or user_id = $1) and id = $2
