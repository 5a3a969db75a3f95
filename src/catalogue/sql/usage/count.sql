-- How many links there are, or of a campaign ($1), a client ($2), a seller ($3), a status ($4), with a text ($5) in the names
-- of campaign or client.
select count(*) as total
from campaign_client_settings s
join campaigns m on m.id = s.campaign_id
join clients c on c.id = s.client_id
where ($1::int is null or s.campaign_id = $1) and ($2::int is null or s.client_id = $2)
  and ($3::int is null or m.user_id = $3) and ($4::text is null or s.status = $4)
  and ($5::text is null or position(lower($5) in lower(m.name)) > 0 or position(lower($5) in lower(c.name)) > 0
       or position(lower($5) in lower(c.client_identifier)) > 0)
