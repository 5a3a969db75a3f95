-- What dialling the clients of a DID's active campaign needs, by link: beside the view that routing decides on,
-- which carries no more than a decision looks at. $1 is the number exactly as stored.
select s.id as link_id, s.max_concurrency, cl.client_identifier, o.contact, e.context, e.transport,
       e.outbound_auth, e.callerid
from dids d
join campaign_dids cd on cd.did_id = d.id
join campaigns c on c.id = cd.campaign_id and c.user_id = d.user_id and c.status = 'active'
join campaign_client_settings s on s.campaign_id = c.id
join clients cl on cl.id = s.client_id
join pjsip_endpoints e on e.client_id = s.client_id
join pjsip_aors o on o.client_id = s.client_id
where d.number = $1
