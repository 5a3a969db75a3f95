-- Calls under way, of a seller ($1) or all, newest first; rows $2, beginning after $3. One row at least: it
-- holds how many there are.
--
-- The unique index on uniqueid_under_way holds the ended calls as nulls, at its end: they are not read.
with under_way as materialized (
    select call_id, incoming_did_number, caller_id_num, caller_id_name, campaign_id, started_at,
           refused_at, refusal_reason, server_name, node_name
    from calls
    where uniqueid_under_way is not null and ended_at is null and ($1::int is null or user_id = $1)
), page as (
    select call_id, incoming_did_number, caller_id_num, caller_id_name, campaign_id, started_at,
           refused_at, refusal_reason, server_name, node_name
    from under_way
    order by started_at desc, call_id desc
    limit $2 offset $3
)
select (select count(*) from under_way) as total,
       p.call_id, p.incoming_did_number, p.caller_id_num, p.caller_id_name, p.campaign_id,
       c.name as campaign_name, p.started_at, p.refused_at, p.refusal_reason, p.server_name, p.node_name,
       r.state, a.attempt, a.link_id, a.client_id, cl.name as client_name, a.endpoint_id, a.offered_at,
       a.answered_at
from (select 1) one
left join page p on true
left join campaigns c on c.id = p.campaign_id
left join reservations r on r.call_id = p.call_id and r.ended_at is null
left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
left join clients cl on cl.id = a.client_id
order by p.started_at desc, p.call_id desc
