-- How many links there are, or of a campaign ($1), a client ($2), a seller ($3).
select count(*) as total
from campaign_client_settings s
join campaigns m on m.id = s.campaign_id
where ($1::int is null or s.campaign_id = $1) and ($2::int is null or s.client_id = $2)
  and ($3::int is null or m.user_id = $3)
