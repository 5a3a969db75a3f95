-- Calls under way, of a seller ($1) or all, of a campaign ($4), with a client ($5), in a state ($6), begun from $7 and before
-- $8, on a DID ($9), refused for a reason ($10), on a dialled number ($11), of a caller ($12, of which $13 says that it is
-- only the beginning), under way for $14 to $15 seconds, with a text ($16, its digits $17) in numbers or names, each of
-- which may be null; newest first, or with $18 oldest first; rows $2, beginning after $3. One row at least: it holds how
-- many there are.
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
      and ($7::timestamptz is null or c.started_at >= $7) and ($8::timestamptz is null or c.started_at < $8)
      and ($9::int is null or c.did_id = $9) and ($10::text is null or c.refusal_reason = $10)
      and ($11::text is null or c.incoming_did_number = $11)
      and ($12::text is null or case when $13::boolean then starts_with(c.caller_id_num, $12)
                                     else c.caller_id_num = $12 end)
      and ($14::int is null or now() - c.started_at >= make_interval(secs => $14))
      and ($15::int is null or now() - c.started_at < make_interval(secs => $15::bigint + 1))
      and ($16::text is null
           or position(lower($16) in lower(c.caller_id_name)) > 0
           or position($16 in c.caller_id_num) > 0
           or position($16 in c.incoming_did_number) > 0
           or position($17::text in regexp_replace(c.caller_id_num, '\D', '', 'g')) > 0
           or position($17::text in regexp_replace(c.incoming_did_number, '\D', '', 'g')) > 0
           or c.campaign_id in (select id from campaigns where position(lower($16) in lower(name)) > 0)
           or a.client_id in (select id from clients where position(lower($16) in lower(name)) > 0))
), page as (
    select call_id, incoming_did_number, caller_id_num, caller_id_name, campaign_id, started_at, refused_at, refusal_reason,
           server_name, node_name, state, attempt, link_id, client_id, endpoint_id, offered_at, answered_at
    from under_way
    order by case when $18::boolean then started_at end, case when $18 then call_id end, started_at desc, call_id desc
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
order by case when $18 then p.started_at end, case when $18 then p.call_id end, p.started_at desc, p.call_id desc
