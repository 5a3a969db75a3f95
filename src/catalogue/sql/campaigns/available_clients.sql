-- Active clients in the order $4, with a text ($1) in identifier, name or department if one is given: those a seller may link.
-- Rows $2, beginning after $3.
select id, client_identifier, name, department
from clients
where status = 'active'
  and (access = 'open' or exists (select from client_grants g where g.client_id = clients.id and g.user_id = current_tenant()))
  and ($1::text is null or position(lower($1) in lower(name)) > 0
       or position(lower($1) in lower(client_identifier)) > 0 or position(lower($1) in lower(department)) > 0)
order by case $4::text when 'name' then name when 'clientIdentifier' then client_identifier end,
         case $4 when '-name' then name when '-clientIdentifier' then client_identifier end desc, id
limit $2 offset $3
