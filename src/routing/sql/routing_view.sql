-- Everything a decision looks at, in one view of the database, for a dialled number by its key ($1, one or
-- none; however it is spelt, one DID has it): the DID and its owner, the campaign that takes its calls with whose turn it
-- is (in the first row), and a row for each of the campaign's links, active or not. One row with nulls where there
-- is no DID, no campaign or no link.
--
-- A client that registers has an address while it has registered with the Asterisk that asks ($2, what that calls
-- itself; null: with any). Asterisk forgets a registration when its time is over, so a minute more allows for clocks.
--
-- Campaigns of other owners do not count. Several active ones are refused when saved; should there be some
-- all the same, the lowest id wins and `campaigns` tells.
select d.id as did_id, d.number, d.status = 'active' as did_active, d.user_id,
       u.status = 'active' as owner_active, a.campaign_id, a.campaigns,
       c.routing_strategy, c.dial_timeout_seconds, c.recording_enabled, c.recording_announcement,
       case when row_number() over (order by s.id) = 1 then r.state end as state, r.turn,
       s.id as link_id, s.client_id, cl.name as client_name,
       s.status = 'active' as link_active, cl.status = 'active' as client_active,
       cl.access = 'open' or k.user_id is not null as granted,
       s.forwarding_priority, s.weight,
       s.max_concurrency, s.total_calls_allowed, s.current_total_calls,
       coalesce(g.held, 0) as held, coalesce(g.confirmed, 0) as confirmed,
       e.id as endpoint_id, e.callerid,
       coalesce(o.contact, '') <> '' or (cl.registers and o.client_id is not null) as has_address,
       case when cl.registers then exists (
           select from pjsip_contacts p
           where p.endpoint = e.id and p.expiration_time > extract(epoch from clock_timestamp()) - 60
             and ($2::text is null or coalesce(p.reg_server, '') in ('', $2::text))
       ) else true end as registered,
       clock_timestamp() as looked_at
from (select) question
left join (
    select id, number, status, user_id
    from dids
    where did_key(number) = any ($1::text[])
    limit 1
) d on true
left join users u on u.id = d.user_id
cross join lateral (
    select min(c2.id) as campaign_id, count(*) as campaigns
    from campaign_dids cd
    join campaigns c2 on c2.id = cd.campaign_id
    where cd.did_id = d.id and c2.user_id = d.user_id and c2.status = 'active'
) a
left join campaigns c on c.id = a.campaign_id
left join campaign_rotations r on r.campaign_id = a.campaign_id
left join campaign_client_settings s on s.campaign_id = a.campaign_id
left join clients cl on cl.id = s.client_id
left join client_grants k on k.client_id = s.client_id and k.user_id = d.user_id
left join link_usage g on g.link_id = s.id
left join pjsip_endpoints e on e.client_id = s.client_id
left join pjsip_aors o on o.client_id = s.client_id
order by s.id
