-- An active link that ties a client ($1) to an active campaign, if there is one.
select s.id as link_id, s.campaign_id
from campaign_client_settings s
join campaigns c on c.id = s.campaign_id
where s.client_id = $1 and s.status = 'active' and c.status = 'active'
order by s.id
limit 1
