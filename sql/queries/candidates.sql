-- All links of the campaign that resolve_did finds for the same number ($1), active or not, with what
-- their eligibility depends on.
select s.campaign_id, s.id as link_id, s.client_id, cl.client_identifier, cl.name as client_name,
       s.status = 'active' as link_active, cl.status = 'active' as client_active,
       s.forwarding_priority, s.weight,
       s.max_concurrency, s.total_calls_allowed, s.current_total_calls,
       coalesce(u.held, 0) as held, coalesce(u.confirmed, 0) as confirmed,
       e.id as endpoint_id, e.callerid,
       coalesce(a.contact, '') <> '' as has_address
from campaign_client_settings s
join clients cl on cl.id = s.client_id
left join link_usage u on u.link_id = s.id
left join pjsip_endpoints e on e.client_id = s.client_id
left join pjsip_aors a on a.client_id = s.client_id
where s.campaign_id = (
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
order by s.id
