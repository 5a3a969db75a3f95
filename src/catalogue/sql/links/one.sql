-- A link ($2) of a campaign ($1) of a seller ($3), or whoever's it is.
select s.id, s.campaign_id, s.client_id, c.client_identifier, c.name as client_name, c.department as client_department, s.status,
       s.max_concurrency, s.total_calls_allowed, s.current_total_calls, s.forwarding_priority, s.weight,
       s.created_at, s.updated_at
from campaign_client_settings s
join clients c on c.id = s.client_id
join campaigns m on m.id = s.campaign_id
where s.campaign_id = $1 and s.id = $2 and ($3::int is null or m.user_id = $3)
