-- What scripts/demo tells, read from the tables as anybody could: schema `demo` holds views, what the
-- carrier says of its calls, and samples of Asterisk's channels. Nothing here is part of the product.

begin;

create schema demo;

-- Calls whose line was shown.
create table demo.shown (call_id bigint primary key);
-- The carrier's own record: a line for each call it placed.
create table demo.placed (did text not null, caller text not null, sip_status int not null);
-- Answers of GET /ari/channels.
create table demo.samples (sample_id bigint generated always as identity, channels jsonb not null);

create function demo.seconds(between_start timestamptz, between_end timestamptz) returns text
language sql immutable as $$
    select round(extract(epoch from between_end - between_start)::numeric, 1) || 's'
$$;

-- "2 of 2 at once" or "5 of 5 in all": the use of the cap that a verdict is about.
create function demo.cap_text(candidate jsonb, verdict text) returns text
language sql immutable as $$
    select (cap->>'used') || ' of ' || (cap->>'limit')
           || case cap->>'kind' when 'total' then ' in all' else ' at once' end
    from jsonb_array_elements(candidate->'caps') cap
    where cap->>'kind' = case verdict when 'total_cap_reached' then 'total' else 'concurrency' end
$$;

-- Every candidate of every decision, with the verdict on it.
create view demo.verdicts as
select d.decision_id, d.call_id, d.attempt, d.campaign_id, d.verdict as decision, d.link_id as chosen,
       (c->>'link_id')::int as link_id, (c->>'tier')::int as tier, (c->>'weight')::int as weight,
       r.verdict, r.place, demo.cap_text(c, r.verdict) as cap_text,
       cl.client_identifier as target, c as candidate,
       coalesce(d.question->'tried' @> (c->'link_id'), false) as tried
from decisions d
cross join lateral jsonb_array_elements(d.question->'candidates') c
cross join lateral (
    select x->>'verdict' as verdict, n as place
    from jsonb_array_elements(d.ranking) with ordinality as ranked (x, n)
    where x->>'link_id' = c->>'link_id') r
join clients cl on cl.id = (c->>'client_id')::int;

-- Targets passed over, untried, because of a cap: in the tiers down to the chosen one, or all of them.
create view demo.passed_over as
select distinct on (v.call_id, v.link_id) v.*
from demo.verdicts v
left join demo.verdicts chosen on chosen.decision_id = v.decision_id and chosen.link_id = v.chosen
where v.verdict in ('concurrency_cap_reached', 'total_cap_reached')
  and not v.tried
  and (v.decision = 'REJECT' or v.tier <= chosen.tier)
order by v.call_id, v.link_id, v.attempt;

-- What became of each target that was tried.
create view demo.tries as
select a.call_id, a.attempt, a.endpoint_id || ' ' || case
        when a.outcome = 'answered' then 'ANSWERED ' || demo.seconds(a.answered_at, a.ended_at)
        when a.outcome = 'abandoned' then 'rang ' || demo.seconds(a.offered_at, a.ended_at) || ', CALLER HUNG UP'
        when a.outcome <> 'failed' then upper(replace(a.outcome, '_', ' '))
        when a.hangup_cause_code = 21 then 'REFUSED'
        when a.dial_status = 'NOANSWER' then 'NO ANSWER ' || demo.seconds(a.offered_at, a.ended_at)
        else a.dial_status
    end as what
from call_attempts a
where a.outcome is not null;

-- A line for each call that is over.
create view demo.story as
select c.call_id, c.ended_at, c.caller_id_num, l.incoming_did_number as did,
       coalesce(g.name || ' ' || replace(g.routing_strategy, '_', '-'), '-') as campaign,
       case
           when l.refusal_reason = 'did_not_found' then 'REFUSED: nobody has this number'
           when l.refusal_reason = 'did_inactive' then 'REFUSED: this number is switched off'
           when l.refusal_reason is not null and l.attempts = 0
               then 'REFUSED: every target at its cap (' || coalesce(full_ones.listed, l.refusal_reason) || ')'
           else coalesce(steps.told || case
                   when l.refusal_reason is not null then ' -> nobody left: ' || l.call_status
                   else '' end, l.call_status)
       end as told
from calls c
join call_logs l on l.id = c.call_id
left join campaigns g on g.id = l.campaign_id
left join lateral (
    select string_agg(p.target || ' ' || p.cap_text, ', ' order by p.tier, p.link_id) as listed
    from demo.passed_over p where p.call_id = c.call_id) full_ones on true
left join lateral (
    select string_agg(what, ' -> ' order by attempt, kind, place) as told
    from (select attempt, 1 as kind, 0::bigint as place, what from demo.tries t where t.call_id = c.call_id
          union all
          select attempt, 0, place, target || ' full (' || cap_text || ')'
          from demo.passed_over p where p.call_id = c.call_id) step) steps on true
where c.ended_at is not null;

-- How many calls Asterisk had to the target of each link, in its own words: a leg to a call centre is
-- connected to a caller, whose call belongs to a campaign.
create view demo.seen_by_asterisk as
select s.sample_id, k.id as link_id, count(*) as legs
from demo.samples s
cross join lateral jsonb_array_elements(s.channels) leg
join clients cl on cl.client_identifier = substring(leg->>'name' from '^PJSIP/(.+)-[0-9a-f]+$')
join calls c on c.caller_id_num = leg->'connected'->>'number'
join campaign_client_settings k on k.client_id = cl.id and k.campaign_id = c.campaign_id
group by s.sample_id, k.id;

-- Each link with its caps and what was taken of them. `peak` comes from the reservations, `seen` from
-- Asterisk, `claimed` from what the decisions saw when they took a slot.
create view demo.links as
select k.id as link_id, g.id as campaign_id, g.name as campaign, g.routing_strategy, cl.client_identifier as target,
       k.forwarding_priority as tier, k.weight, k.max_concurrency, k.total_calls_allowed, k.current_total_calls,
       u.held + u.confirmed as open_now,
       (select count(*) from call_attempts a where a.link_id = k.id) as offered,
       (select count(*) from call_attempts a where a.link_id = k.id and a.attempt = 1) as offered_first,
       (select count(*) from call_attempts a where a.link_id = k.id and a.outcome = 'answered') as answered,
       coalesce((select max((select count(*) from reservations other
                             where other.link_id = r.link_id and other.held_at <= r.held_at
                               and (other.ended_at is null or other.ended_at > r.held_at)))
                 from reservations r where r.link_id = k.id), 0) as peak,
       coalesce((select max(legs) from demo.seen_by_asterisk s where s.link_id = k.id), 0) as seen,
       coalesce((select max((cap->>'used')::int) + 1
                 from demo.verdicts v cross join lateral jsonb_array_elements(v.candidate->'caps') cap
                 where v.link_id = k.id and v.chosen = k.id and cap->>'kind' = 'concurrency'), 0) as claimed
from campaign_client_settings k
join campaigns g on g.id = k.campaign_id
join clients cl on cl.id = k.client_id
join link_usage u on u.link_id = k.id;

-- Round robin: after the last one chosen comes the next eligible one of the tier by id, or else the first.
create view demo.turns as
with first_offers as (
    select d.decision_id, d.campaign_id, d.link_id as chosen,
           lag(d.link_id) over (partition by d.campaign_id order by d.decision_id) as last_chosen
    from decisions d join campaigns g on g.id = d.campaign_id
    where g.routing_strategy = 'round_robin' and d.verdict = 'DIAL' and d.attempt = 1)
select f.campaign_id, f.chosen = coalesce(
           min(v.link_id) filter (where v.link_id > f.last_chosen), min(v.link_id)) as in_turn
from first_offers f
join demo.verdicts v on v.decision_id = f.decision_id and v.verdict = 'eligible'
group by f.decision_id, f.campaign_id, f.chosen, f.last_chosen;

-- Weighted: how far each target was from its ideal share after each call, while all were eligible.
create view demo.deviations as
with first_offers as (
    select d.decision_id, d.campaign_id, d.link_id as chosen,
           row_number() over (partition by d.campaign_id order by d.decision_id) as n
    from decisions d join campaigns g on g.id = d.campaign_id
    where g.routing_strategy = 'weighted' and d.verdict = 'DIAL' and d.attempt = 1)
select f.campaign_id, f.n, v.link_id, v.verdict = 'eligible' as eligible,
       abs(f.n * v.weight::numeric / sum(v.weight) over (partition by f.decision_id)
           - count(*) filter (where f.chosen = v.link_id)
             over (partition by f.campaign_id, v.link_id order by f.n)) as off_by
from first_offers f
join demo.verdicts v on v.decision_id = f.decision_id;

commit;

-- What was said in the recorded calls, side by side.
create view demo.conversations as
select s.call_id, string_agg(s.text, ' ' order by s.segment) filter (where s.speaker = 'caller') as caller,
       string_agg(s.text, ' ' order by s.segment) filter (where s.speaker = 'agent') as agent
from (select t.call_id, s.* from transcripts t join transcript_segments s using (recording_id)) s
group by s.call_id;
