-- As lock_campaign, without the lock: for looking, not for claiming.
select r.campaign_id, r.state, c.routing_strategy, c.dial_timeout_seconds
from campaign_rotations r
join campaigns c on c.id = r.campaign_id
where r.campaign_id = (
    select min(c2.id)
    from campaign_dids cd
    join campaigns c2 on c2.id = cd.campaign_id
    join dids d on d.id = cd.did_id
    where cd.did_id = (
        select id from dids
        where number = any ($1::text[])
        order by array_position($1::text[], number::text)
        limit 1)
      and c2.user_id = d.user_id and c2.status = 'active')

