-- The use of all links, or of those of a campaign ($1), a client ($2), a seller ($3); rows $4, beginning after $5.
select s.id as link_id, s.campaign_id, m.name as campaign_name, m.user_id, u.username,
       s.client_id, c.client_identifier, c.name as client_name, c.department as client_department,
       c.status as client_status, s.status, s.max_concurrency, s.total_calls_allowed, s.current_total_calls,
       coalesce(g.held, 0) as held, coalesce(g.confirmed, 0) as confirmed
from campaign_client_settings s
join campaigns m on m.id = s.campaign_id
join users u on u.id = m.user_id
join clients c on c.id = s.client_id
left join link_usage g on g.link_id = s.id
where ($1::int is null or s.campaign_id = $1) and ($2::int is null or s.client_id = $2)
  and ($3::int is null or m.user_id = $3)
order by s.id
limit $4 offset $5
