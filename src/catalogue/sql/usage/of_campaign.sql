-- The use of the links of a campaign ($2) of a seller ($1), or whoever's it is, in the order of their tiers; a row
-- with nulls for a campaign without links, none for a campaign that is not there or not the seller's.
select s.id as link_id, s.campaign_id, m.name as campaign_name, m.user_id, u.username,
       s.client_id, c.client_identifier, c.name as client_name, c.department as client_department,
       c.status as client_status, s.status, s.max_concurrency, s.total_calls_allowed, s.current_total_calls,
       coalesce(g.held, 0) as held, coalesce(g.confirmed, 0) as confirmed
from campaigns m
join users u on u.id = m.user_id
left join campaign_client_settings s on s.campaign_id = m.id
left join clients c on c.id = s.client_id
left join link_usage g on g.link_id = s.id
where ($1::int is null or m.user_id = $1) and m.id = $2
order by s.forwarding_priority, s.id
