-- How many active clients there are, with a text ($1) in identifier, name or department if one is given.
select count(*) as total
from clients
where status = 'active'
  and (access = 'open' or exists (select from client_grants g where g.client_id = clients.id and g.user_id = current_tenant()))
  and ($1::text is null or position(lower($1) in lower(name)) > 0
       or position(lower($1) in lower(client_identifier)) > 0 or position(lower($1) in lower(department)) > 0)
