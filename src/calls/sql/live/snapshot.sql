-- All calls under way with their attempts in order: a row each, or one without attempt.
select c.call_id, c.user_id, c.incoming_did_number, c.caller_id_num, c.campaign_id, m.name as campaign_name, c.started_at,
       c.refused_at, a.attempt, a.link_id, a.client_id, cl.name as client_name, a.endpoint_id, a.offered_at, a.answered_at,
       a.ended_at
from calls c
left join call_attempts_recent a on a.call_id = c.call_id
left join campaigns m on m.id = c.campaign_id
left join clients cl on cl.id = a.client_id
where c.uniqueid_under_way is not null and c.ended_at is null
order by c.call_id, a.attempt
