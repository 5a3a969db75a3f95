-- The use of all links, or of those of a campaign ($1), a client ($2), a seller ($3), a status ($4), with a text ($5) in
-- the names of campaign or client. In this order ($6); rows $7, beginning after $8.
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
  and ($3::int is null or m.user_id = $3) and ($4::text is null or s.status = $4)
  and ($5::text is null or position(lower($5) in lower(m.name)) > 0 or position(lower($5) in lower(c.name)) > 0
       or position(lower($5) in lower(c.client_identifier)) > 0)
order by case when $6::text = '-live' then coalesce(g.held, 0) + coalesce(g.confirmed, 0) end desc,
         case when $6 = '-share' then (coalesce(g.held, 0) + coalesce(g.confirmed, 0))::float8 / s.max_concurrency end desc,
         case when $6 = 'campaign' then m.name end, case when $6 = 'client' then c.name end, s.id
limit $7 offset $8
