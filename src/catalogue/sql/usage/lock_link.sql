-- A link ($1), whoever's it is. Until the end of the transaction no call is counted on it, and none takes a slot.
select s.id, s.campaign_id, m.user_id
from campaign_client_settings s
join campaigns m on m.id = s.campaign_id
where s.id = $1
for no key update of s
