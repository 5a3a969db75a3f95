-- What became of calls that were under way ($1), and of all that ended since a moment ($2), but for those
-- known to have ended ($3): a row for each attempt, or one without, in order.
with ended as (
    select call_id from calls where call_id = any ($1::bigint[]) and ended_at is not null
    union
    select call_id from calls where ended_at >= $2 and call_id <> all ($3::bigint[])
)
select c.call_id, c.user_id, c.incoming_did_number, c.caller_id_num, c.campaign_id, m.name as campaign_name, c.started_at,
       c.refused_at, c.ended_at as call_ended_at, l.call_status, l.refusal_reason, l.client_id as last_client_id,
       a.attempt, a.link_id, a.client_id, cl.name as client_name, a.endpoint_id, a.offered_at, a.answered_at, a.ended_at
from ended e
join calls c on c.call_id = e.call_id
left join call_logs l on l.id = c.call_id and l.timestamp_start = c.started_at
left join call_attempts_recent a on a.call_id = c.call_id
left join campaigns m on m.id = c.campaign_id
left join clients cl on cl.id = a.client_id
order by c.call_id, a.attempt
