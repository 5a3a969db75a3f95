-- Calls under way, of a seller ($1) or all, of a campaign ($4), with a client ($5), in a state ($6), of those that may be
-- null; newest first; rows $2, beginning after $3. One row at least: it holds how many there are.
--
-- The unique index on uniqueid_under_way holds the ended calls as nulls, at its end: they are not read.
with under_way as materialized (
    select c.call_id, c.incoming_did_number, c.caller_id_num, c.caller_id_name, c.campaign_id, c.started_at,
           c.refused_at, c.refusal_reason, c.server_name, c.node_name,
           r.state, a.attempt, a.link_id, a.client_id, a.endpoint_id, a.offered_at, a.answered_at
    from calls c
    left join reservations r on r.call_id = c.call_id and r.ended_at is null
    left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
    where c.uniqueid_under_way is not null and c.ended_at is null and ($1::int is null or c.user_id = $1)
      and ($4::int is null or c.campaign_id = $4) and ($5::int is null or a.client_id = $5)
      and ($6::text is null or $6 = case when r.state = 'confirmed' then 'talking' when a.attempt is not null then 'offered'
                                         when c.refused_at is not null then 'refused' else 'routing' end)
), page as (
    select call_id, incoming_did_number, caller_id_num, caller_id_name, campaign_id, started_at, refused_at, refusal_reason,
           server_name, node_name, state, attempt, link_id, client_id, endpoint_id, offered_at, answered_at
    from under_way
    order by started_at desc, call_id desc
    limit $2 offset $3
)
select (select count(*) from under_way) as total,
       p.call_id, p.incoming_did_number, p.caller_id_num, p.caller_id_name, p.campaign_id,
       c.name as campaign_name, p.started_at, p.refused_at, p.refusal_reason, p.server_name, p.node_name,
       p.state, p.attempt, p.link_id, p.client_id, cl.name as client_name, p.endpoint_id, p.offered_at, p.answered_at
from (select 1) one
left join page p on true
left join campaigns c on c.id = p.campaign_id
left join clients cl on cl.id = p.client_id
order by p.started_at desc, p.call_id desc
