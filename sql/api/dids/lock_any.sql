-- A DID ($1) of any seller, to be changed.
select d.id, d.number, d.status, d.description, d.created_at, d.updated_at, d.user_id, u.username
from dids d
join users u on u.id = d.user_id
where d.id = $1
for update of d
