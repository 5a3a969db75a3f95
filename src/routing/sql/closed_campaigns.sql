-- Why a DID has no campaign that takes its calls: the campaigns of its owner that it is tied to and that are not active.
-- Asked only when a call to DID $1 of user $2 is about to be refused; at most ten, the newest change first.
select c.id as campaign_id, c.name, c.status
from campaign_dids cd
join campaigns c on c.id = cd.campaign_id and c.user_id = $2::int
where cd.did_id = $1::int and c.status <> 'active'
order by c.updated_at desc, c.id
limit 10
