-- The DID behind a dialled number, in any of its spellings ($1, the dialled one first), its owner, and
-- the campaign that takes its calls. Campaigns of other owners do not count. Several active ones are
-- refused when saved; should there be some all the same, the lowest id wins and `campaigns` tells.
select d.id as did_id, d.number, d.status = 'active' as did_active, d.user_id,
       u.status = 'active' as owner_active,
       a.campaign_id, a.campaigns
from dids d
join users u on u.id = d.user_id
cross join lateral (
    select min(c.id) as campaign_id, count(*) as campaigns
    from campaign_dids cd
    join campaigns c on c.id = cd.campaign_id
    where cd.did_id = d.id and c.user_id = d.user_id and c.status = 'active'
) a
where d.number = any ($1::text[])
order by array_position($1::text[], d.number::text)
limit 1
