-- The grants of a client ($1), by name of the seller.
select g.user_id, u.username, g.granted_by, g.granted_at
from client_grants g
join users u on u.id = g.user_id
where g.client_id = $1
order by u.username
