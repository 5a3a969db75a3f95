-- The decisions about a call ($1), of a seller ($2) or of anybody, in order, each with the attempt it led to.
-- One row without decision where a call has none; no row where there is no such call. A call lasts a day at most, so its
-- decisions are in one month or two.
select d.decision_id, d.attempt, d.decided_at, d.verdict, d.reason, d.node_name, d.campaign_id,
       p.name as campaign_name, d.link_id, d.question, d.ranking, d.remarks,
       a.client_id, a.endpoint_id, a.offered_at, a.ring_timeout_seconds, a.answered_at, a.ended_at, a.outcome,
       a.dial_status, a.hangup_cause_code
from (
    select call_id, min(started_at) as started_at
    from (
        select call_id, started_at from calls where call_id = $1 and ($2::int is null or user_id = $2)
        union all
        select id, timestamp_start from call_logs where id = $1 and ($2::int is null or user_id = $2)
    ) known
    group by call_id
) c
left join decisions d on d.call_id = c.call_id and ($2::int is null or d.user_id = $2)
    and d.decided_at >= c.started_at - interval '1 day' and d.decided_at < c.started_at + interval '3 days'
left join campaigns p on p.id = d.campaign_id
left join call_attempts a on a.call_id = d.call_id and a.attempt = d.attempt and a.link_id = d.link_id
order by d.decision_id
