-- The DIDs tied to a campaign ($2) of a seller ($1), by id.
select d.id, d.number, d.description, d.status, d.updated_at
from campaign_dids t
join dids d on d.id = t.did_id
where d.user_id = $1 and t.campaign_id = $2
order by d.id
