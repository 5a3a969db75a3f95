-- Those of these clients ($2) that there are, and whether they take calls of a seller ($1).
select c.id as client_id,
       c.access = 'open' or exists (select from client_grants g where g.client_id = c.id and g.user_id = $1) as is_granted
from clients c
where c.id = any ($2::int[])
