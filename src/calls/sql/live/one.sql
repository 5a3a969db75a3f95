-- A call under way ($2), of a seller ($1) or anybody's; no row where it is not under way.
select p.call_id, p.incoming_did_number, p.caller_id_num, p.caller_id_name, p.campaign_id,
       c.name as campaign_name, p.started_at, p.refused_at, p.refusal_reason, p.server_name, p.node_name,
       r.state, a.attempt, a.link_id, a.client_id, cl.name as client_name, a.endpoint_id, a.offered_at,
       a.answered_at
from calls p
left join campaigns c on c.id = p.campaign_id
left join reservations r on r.call_id = p.call_id and r.ended_at is null
left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
left join clients cl on cl.id = a.client_id
where p.call_id = $2 and p.uniqueid_under_way is not null and p.ended_at is null
    and ($1::int is null or p.user_id = $1)
