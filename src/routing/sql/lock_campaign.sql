-- Locks the campaign that routing_view finds for the same number ($1) until the transaction's end. The view
-- is read by the next statement: it sees what was committed while this one waited.
select r.campaign_id
from campaign_rotations r
where r.campaign_id = (
    select min(c.id)
    from campaign_dids cd
    join campaigns c on c.id = cd.campaign_id
    join dids d on d.id = cd.did_id
    where cd.did_id = (
        select id from dids
        where did_key(number) = any ($1::text[])
        limit 1)
      and c.user_id = d.user_id and c.status = 'active')
for update
