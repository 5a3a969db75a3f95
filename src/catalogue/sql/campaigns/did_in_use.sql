-- The first of some DIDs ($3) that another active campaign than this one ($2) of the seller ($1) has.
select d.number, c.id as campaign_id, c.name as campaign_name
from campaign_dids t
join campaigns c on c.id = t.campaign_id
join dids d on d.id = t.did_id
where c.user_id = $1 and c.status = 'active' and c.id <> $2 and t.did_id = any ($3::int[])
order by d.id, c.id
limit 1
