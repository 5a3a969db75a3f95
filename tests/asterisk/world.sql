-- The world of tests/asterisk: every link has an endpoint of its own, so that a channel's name tells its
-- link. For an empty database only. Variables: the SIP port of each call centre.

begin;

create schema lab;
-- What the carrier placed and what shall be logged of it; null: anything.
create table lab.placed (
    caller text primary key, did text not null, status text, attempts int, reason text,
    logged text not null);
-- What the carrier heard.
create table lab.heard (caller text not null, sip_status int not null);
-- Answers of GET /ari/channels.
create table lab.samples (sample_id bigint generated always as identity, channels jsonb not null);

create table lab.plan (
    campaign text, did text, strategy text, ring int, endpoint text, port int, concurrency int, total int,
    tier int, weight int);
insert into lab.plan values
    ('answer', '+15550000101', 'priority', 20, 'o-answer', :answer, 9, null, 0, 1),
    ('bye', '+15550000102', 'priority', 20, 'o-bye', :bye, 9, null, 0, 1),
    ('next', '+15550000103', 'priority', 20, 'o-busy1', :busy, 9, null, 0, 1),
    ('next', '+15550000103', 'priority', 20, 'o-next', :answer, 9, null, 1, 1),
    ('busy', '+15550000104', 'priority', 20, 'o-busy2', :busy, 9, null, 0, 1),
    ('busy', '+15550000104', 'priority', 20, 'o-busy3', :busy, 9, null, 1, 1),
    ('silent', '+15550000105', 'priority', 2, 'o-silent', :silent, 9, null, 0, 1),
    ('refused', '+15550000106', 'priority', 20, 'o-refuse', :refuse, 9, null, 0, 1),
    ('congested', '+15550000107', 'priority', 20, 'o-congested', :congested, 9, null, 0, 1),
    ('dead', '+15550000108', 'priority', 2, 'o-dead', :dead, 9, null, 0, 1),
    ('redirect', '+15550000119', 'priority', 20, 'o-redirect', :redirect, 9, null, 0, 1),
    ('off', '+15550000110', 'priority', 20, 'o-off', :answer, 9, null, 0, 1),
    ('cancel', '+15550000111', 'priority', 20, 'o-ring', :silent, 9, null, 0, 1),
    ('hostile', '+15550000112', 'priority', 20, 'o-hostile', :answer, 9, null, 0, 1),
    ('closed', '+15550000120', 'priority', 20, 'o-closed', :answer, 9, 0, 0, 1),
    ('mix priority', '+15550000201', 'priority', 5, 'm-p1', :answer, 5, null, 0, 1),
    ('mix priority', '+15550000201', 'priority', 5, 'm-p2', :busy, 2, null, 1, 1),
    ('mix priority', '+15550000201', 'priority', 5, 'm-p3', :answer, 3, 20, 2, 1),
    ('mix turns', '+15550000202', 'round_robin', 5, 'm-r1', :answer, 99, null, 0, 1),
    ('mix turns', '+15550000202', 'round_robin', 5, 'm-r2', :refuse, 99, null, 0, 1),
    ('mix turns', '+15550000202', 'round_robin', 5, 'm-r3', :answer, 3, null, 0, 1),
    ('mix weighted', '+15550000203', 'weighted', 5, 'm-w1', :answer, 999, null, 0, 70),
    ('mix weighted', '+15550000203', 'weighted', 5, 'm-w2', :busy, 999, null, 0, 20),
    ('mix weighted', '+15550000203', 'weighted', 5, 'm-w3', :answer, 999, null, 0, 10),
    ('pressure', '+15550000301', 'priority', 5, 'p-three', :answer, 3, 20, 0, 1),
    ('pressure', '+15550000301', 'priority', 5, 'p-two', :answer, 2, null, 1, 1),
    ('turnover', '+15550000302', 'priority', 5, 'u-busy', :busy, 2, null, 0, 1),
    ('turnover', '+15550000302', 'priority', 5, 'u-two', :answer, 2, null, 1, 1),
    ('kill', '+15550000401', 'priority', 20, 'k-talk', :answer, 9, null, 0, 1),
    ('kill slow', '+15550000402', 'priority', 20, 'k-slow', :slow, 9, null, 0, 1),
    ('fallback', '+15550000501', 'priority', 20, 'f-only', :answer, 9, null, 0, 1),
    ('two', '+15550000601', 'priority', 20, 't-three', :answer, 3, null, 0, 1),
    ('two long', '+15550000602', 'round_robin', 20, 't-long', :answer, 1, null, 0, 1),
    ('two long', '+15550000602', 'round_robin', 20, 't-other', :answer, 1, null, 0, 1),
    ('database', '+15550000701', 'priority', 20, 'b-talk', :answer, 9, null, 0, 1),
    ('database slow', '+15550000702', 'priority', 20, 'b-slow', :slow, 9, null, 0, 1),
    ('database fresh', '+15550000703', 'priority', 20, 'b-fresh', :slow, 1, null, 0, 1),
    ('ari', '+15550000801', 'priority', 20, 'a-busy', :busy, 9, null, 0, 1),
    ('ari', '+15550000801', 'priority', 20, 'a-talk', :answer, 2, null, 1, 1),
    ('merged', '+15550000981', 'priority', 20, 'g-open', :answer, 9, null, 0, 1),
    ('merged refer', '+15550000982', 'priority', 20, 'g-refer', :refer, 9, null, 0, 1),
    ('register', '+15550000971', 'priority', 20, 'q-phone', :answer, 9, null, 0, 1),
    ('register', '+15550000971', 'priority', 20, 'q-fixed', :answer, 9, null, 1, 1),
    ('crash', '+15550000901', 'priority', 20, 'c-talk', :answer, 2, null, 0, 1),
    ('crash slow', '+15550000902', 'priority', 20, 'c-slow', :slow, 1, null, 0, 1),
    ('record', '+15550000951', 'priority', 20, 'vbusy', :busy, 9, null, 0, 1),
    ('record', '+15550000951', 'priority', 20, 'vplain', :voice, 9, null, 1, 1),
    ('record announced', '+15550000952', 'priority', 20, 'vtold', :voice, 9, null, 0, 1),
    ('record unannounced', '+15550000953', 'priority', 20, 'vwide', :voice, 9, null, 0, 1),
    ('record nothing', '+15550000954', 'priority', 20, 'vnothing', :busy, 9, null, 0, 1),
    ('record crash', '+15550000955', 'priority', 20, 'vcrash', :voice, 9, null, 0, 1);

insert into users (id, username, email, password_hash, role, status)
values (1, 'lab', 'lab@lab.example', '!', 'user', 'active');

insert into clients (client_identifier, name, status) select endpoint, endpoint, 'active' from lab.plan;
insert into pjsip_endpoints (id, client_id, aors, context, disallow, allow, direct_media)
select client_identifier, id, client_identifier, 'capconduit-none', 'all', 'ulaw,alaw', 'no' from clients;
insert into pjsip_aors (id, client_id, contact, max_contacts)
select endpoint, c.id, format('sip:%s@127.0.0.1:%s;transport=udp', endpoint, port), 1
from lab.plan join clients c on client_identifier = endpoint;

-- Written straight to the table, as somebody did before capconduit.
update pjsip_endpoints set context = 'from-internal' where id in ('g-open', 'g-refer');

insert into dids (number, user_id, status)
select distinct did, 1, case campaign when 'off' then 'inactive' else 'active' end from lab.plan;
insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
select distinct 1, campaign, 'active', strategy, ring from lab.plan;
update campaigns set recording_enabled = true where name like 'record%';
update campaigns set recording_announcement = 'tone' where name = 'record announced';
update campaigns set recording_announcement = 'wide' where name = 'record unannounced';
insert into campaign_dids (campaign_id, did_id)
select distinct g.id, d.id from lab.plan join campaigns g on name = campaign join dids d on number = did;
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, total_calls_allowed,
                                      forwarding_priority, weight)
select g.id, c.id, 'active', concurrency, total, tier, p.weight
from lab.plan p join campaigns g on name = campaign join clients c on client_identifier = endpoint
order by endpoint;

-- A number of its own for each hostile caller, whose own number may not survive.
insert into dids (number, user_id, status) select '+155500001' || n, 1, 'active' from generate_series(13, 18) n;
insert into campaign_dids (campaign_id, did_id)
select g.id, d.id from campaigns g, dids d
where g.name = 'hostile' and d.number between '+15550000113' and '+15550000118';
insert into dids (number, user_id, status) values ('+15550000121', 1, 'active');

-- Most channels to each endpoint at one moment, in Asterisk's own words. A channel whose state changes
-- while Asterisk makes its list can be in it more than once.
create view lab.peaks as
select endpoint, max(legs) as legs
from (
    select sample_id, substring(channel->>'name' from '^PJSIP/(.+)-[0-9a-f]+$') as endpoint, count(distinct channel->>'id') as legs
    from lab.samples, jsonb_array_elements(channels) channel
    group by 1, 2) counted
group by endpoint;

-- The verdict on each candidate of each first offer, with the number of that offer in its campaign.
create view lab.first_offers as
select g.name as campaign, d.decision_id, d.link_id as chosen, n, (c->>'link_id')::int as link_id,
       (c->>'weight')::int as weight, r.verdict
from (
    select *, row_number() over (partition by campaign_id order by decision_id) as n
    from decisions where verdict = 'DIAL' and attempt = 1) d
join campaigns g on g.id = d.campaign_id
cross join lateral jsonb_array_elements(d.question->'candidates') c
cross join lateral (
    select x->>'verdict' as verdict from jsonb_array_elements(d.ranking) x
    where x->>'link_id' = c->>'link_id') r;

-- What is wrong with the books: a line for each fault, none if all is well.
create view lab.faults as
with log as (
    select p.caller, p.did, p.status, p.attempts, p.reason, p.logged = 'surely' as surely, count(l.id) as rows, min(l.call_status) as logged,
           min(l.attempts) as tried, min(l.refusal_reason) as refused, min(h.sip_status) as heard,
           bool_and(l.timestamp_end is not null) as ended
    from lab.placed p
    left join call_logs l on l.incoming_did_number = p.did
        and (l.caller_id_num = p.caller or p.caller like 'any%')
    left join lab.heard h on h.caller = p.caller
    group by p.caller)
select format('call %s to %s: %s rows in the log', caller, did, rows) as fault from log where rows > 1 or surely and rows = 0
union all
select format('call %s to %s: logged %s, expected %s', caller, did, logged, status) from log where logged <> status
union all
select format('call %s to %s: %s attempts, expected %s', caller, did, tried, attempts) from log where tried <> attempts
union all
select format('call %s to %s: refusal reason %s, expected %s', caller, did, coalesce(refused, 'none'), reason)
from log where coalesce(refused, '') <> reason
union all
select format('call %s to %s: carrier heard %s, logged %s', caller, did, heard, logged)
from log where (heard = 200) <> (logged = 'ANSWERED') or (heard = 487) <> (logged = 'ABANDONED')
union all
select format('call %s to %s: the row has no end', caller, did) from log where rows > 0 and not ended
union all
select format('the log has a call of %s to %s that nobody placed', caller_id_num, incoming_did_number) from call_logs
where not exists (select from lab.placed
                  where did = incoming_did_number and (caller = caller_id_num or caller like 'any%'))
union all
select format('link %s: %s held, %s confirmed at the end', link_id, held, confirmed) from link_usage
where held <> 0 or confirmed <> 0
union all
select format('reservation %s of call %s is %s', reservation_id, call_id, state) from reservations where ended_at is null
union all
select format('call %s is still under way', call_id) from calls where ended_at is null
union all
select format('link of %s: current_total_calls %s, answered attempts %s, answered calls logged %s', client_identifier,
              current_total_calls, tries, calls)
from (
    select c.client_identifier, k.current_total_calls,
           (select count(*) from call_attempts a where a.link_id = k.id and a.outcome = 'answered') as tries,
           (select count(*) from call_logs l
            where l.campaign_client_setting_id = k.id and l.call_status = 'ANSWERED') as calls
    from campaign_client_settings k join clients c on c.id = k.client_id) used
where current_total_calls <> tries or tries <> calls
union all
select format('%s: %s channels at once, the cap is %s', p.endpoint, p.legs, k.concurrency)
from lab.peaks p join lab.plan k using (endpoint) where p.legs > k.concurrency
union all
select format('%s: %s answered, the total cap is %s', c.client_identifier, k.current_total_calls, k.total_calls_allowed)
from campaign_client_settings k join clients c on c.id = k.client_id where k.current_total_calls > k.total_calls_allowed
union all
select format('%s: %s slots reserved at once, the cap is %s', c.client_identifier, peak, k.max_concurrency)
from campaign_client_settings k
join clients c on c.id = k.client_id
cross join lateral (
    select max((select count(*) from reservations o
                where o.link_id = r.link_id and o.held_at <= r.held_at
                  and (o.ended_at is null or o.ended_at > r.held_at))) as peak
    from reservations r where r.link_id = k.id) reserved
where peak > k.max_concurrency;

-- Empties the books; for a moment when nothing goes on.
create procedure lab.reset() language sql as $$
    truncate recordings, recording_files, transcription_jobs, transcripts, transcript_segments;
    truncate call_logs, calls, reservations, call_attempts, decisions, lab.placed, lab.heard, lab.samples;
    update link_usage set held = 0, confirmed = 0;
    update campaign_client_settings set current_total_calls = 0 where current_total_calls <> 0;
    update campaign_rotations set state = '{}', turn = 0;
$$;

commit;
