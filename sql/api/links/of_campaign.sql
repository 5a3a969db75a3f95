-- The links of a campaign ($2) of a seller ($1), in the order of their tiers.
select s.id, s.campaign_id, s.client_id, c.client_identifier, c.name as client_name, c.department as client_department, s.status,
       s.max_concurrency, s.total_calls_allowed, s.current_total_calls, s.forwarding_priority, s.weight,
       s.created_at, s.updated_at
from campaign_client_settings s
join campaigns m on m.id = s.campaign_id
join clients c on c.id = s.client_id
where m.user_id = $1 and m.id = $2
order by s.forwarding_priority, s.id
