-- The world of scripts/soak: every link has an endpoint of its own, so that a channel's name tells its link. For an
-- empty database only. Variables: the SIP port of each call centre. The numbers are those of plan.py.

begin;

create schema soak;
create table soak.plan (
    campaign text, did text, strategy text, ring int, endpoint text, port int, concurrency int, total int,
    tier int, weight int);
insert into soak.plan values
    -- Callers hang up.
    ('priority', '+15550001001', 'priority', 5, 'p-busy', :busy, 2, null, 0, 1),
    ('priority', '+15550001001', 'priority', 5, 'p-first', :answer, 3, null, 1, 1),
    ('priority', '+15550001001', 'priority', 5, 'p-second', :slow, 2, null, 2, 1),
    ('turns', '+15550001002', 'round_robin', 5, 't-one', :answer, 2, null, 0, 1),
    ('turns', '+15550001002', 'round_robin', 5, 't-refuse', :refuse, 9, null, 0, 1),
    ('turns', '+15550001002', 'round_robin', 5, 't-two', :answer, 2, null, 0, 1),
    ('turns', '+15550001002', 'round_robin', 5, 't-redirect', :redirect, 9, null, 0, 1),
    ('turns', '+15550001002', 'round_robin', 5, 't-congested', :congested, 9, null, 0, 1),
    ('weighted', '+15550001003', 'weighted', 5, 'w-most', :answer, 3, null, 0, 70),
    ('weighted', '+15550001003', 'weighted', 5, 'w-some', :slow, 2, null, 0, 20),
    ('weighted', '+15550001003', 'weighted', 5, 'w-busy', :busy, 9, null, 0, 10),
    -- Slots that change hands all the time.
    ('turnover', '+15550001004', 'priority', 5, 'o-two', :answer, 2, null, 0, 1),
    ('turnover', '+15550001004', 'priority', 5, 'o-one', :answer, 1, null, 1, 1),
    -- A total cap that is used up during the run.
    ('total', '+15550001005', 'priority', 5, 'n-total', :answer, 5, 40, 0, 1),
    ('total', '+15550001005', 'priority', 5, 'n-rest', :answer, 2, null, 1, 1),
    ('silent', '+15550001006', 'priority', 2, 's-silent', :silent, 3, null, 0, 1),
    ('silent', '+15550001006', 'priority', 2, 's-next', :answer, 2, null, 1, 1),
    ('dead', '+15550001007', 'priority', 2, 'd-dead', :dead, 3, null, 0, 1),
    ('dead', '+15550001007', 'priority', 2, 'd-next', :answer, 2, null, 1, 1),
    -- 008 is nobody's number.
    -- Call centres hang up.
    ('bye', '+15550001011', 'priority', 5, 'b-quick', :bye, 3, null, 0, 1),
    ('bye', '+15550001011', 'priority', 5, 'b-long', :byelong, 2, null, 1, 1),
    ('bye turns', '+15550001012', 'round_robin', 5, 'b-one', :byelong, 2, null, 0, 1),
    ('bye turns', '+15550001012', 'round_robin', 5, 'b-two', :bye, 2, null, 0, 1),
    ('bye turns', '+15550001012', 'round_robin', 5, 'b-refuse', :refuse, 9, null, 0, 1),
    -- Callers give up.
    ('cancel', '+15550001021', 'priority', 20, 'c-ring', :silent, 4, null, 0, 1),
    ('cancel', '+15550001021', 'priority', 20, 'c-slow', :slow, 2, null, 1, 1),
    ('cancel race', '+15550001022', 'priority', 20, 'c-race', :slow, 4, null, 0, 1),
    -- Room for all; for scripts/bench restart.
    ('bench', '+15550001031', 'round_robin', 20, 'x-one', :answer, 9999, null, 0, 1),
    ('bench', '+15550001031', 'round_robin', 20, 'x-two', :answer, 9999, null, 0, 1);

insert into users (id, username, email, password_hash, role, status)
values (1, 'soak', 'soak@soak.example', '!', 'user', 'active');
insert into clients (client_identifier, name, status) select endpoint, endpoint, 'active' from soak.plan;
insert into pjsip_endpoints (id, client_id, aors, context, disallow, allow, direct_media)
select client_identifier, id, client_identifier, 'capconduit-none', 'all', 'ulaw,alaw', 'no' from clients;
insert into pjsip_aors (id, client_id, contact, max_contacts)
select endpoint, c.id, format('sip:%s@127.0.0.1:%s;transport=udp', endpoint, port), 1
from soak.plan join clients c on client_identifier = endpoint;
insert into dids (number, user_id, status) select distinct did, 1, 'active' from soak.plan;
insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
select distinct 1, campaign, 'active', strategy, ring from soak.plan;
insert into campaign_dids (campaign_id, did_id)
select distinct g.id, d.id from soak.plan join campaigns g on name = campaign join dids d on number = did;
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, total_calls_allowed,
                                      forwarding_priority, weight)
select g.id, c.id, 'active', concurrency, total, tier, p.weight
from soak.plan p join campaigns g on name = campaign join clients c on client_identifier = endpoint
order by endpoint;

-- What the checker reads.
create view soak.links as
select k.id, c.client_identifier as endpoint, k.max_concurrency, k.total_calls_allowed, k.current_total_calls,
       coalesce(u.held, 0) as held, coalesce(u.confirmed, 0) as confirmed
from campaign_client_settings k
join clients c on c.id = k.client_id
left join link_usage u on u.link_id = k.id;
create view soak.rows as
select l.id, l.caller_id_num, l.incoming_did_number, extract(epoch from l.timestamp_start) as started,
       extract(epoch from l.timestamp_answered) as answered, extract(epoch from l.timestamp_end) as ended,
       l.duration_seconds, l.billsec_seconds, l.call_status, c.client_identifier as endpoint,
       l.campaign_client_setting_id as link_id, l.attempts, l.refusal_reason, l.hangup_cause_code, l.asterisk_uniqueid
from call_logs l left join clients c on c.id = l.client_id;
-- A function looks its tables up by name when it runs: an upgrade in the middle of a run may give another table the name.
create function soak.attempts_by_name()
returns table (call_id bigint, attempt int, endpoint_id text, link_id int, offered numeric, answered numeric,
               ended numeric, outcome text, dial_status text)
language sql stable as $$
    select call_id, attempt, endpoint_id, link_id, extract(epoch from offered_at),
           extract(epoch from answered_at), extract(epoch from ended_at), outcome, dial_status
    from public.call_attempts
$$;
create view soak.attempts as select * from soak.attempts_by_name();
create view soak.left_over as
select 'call' as kind, call_id, format('%s to %s, on %s', caller_id_num, incoming_did_number, channel) as what
from calls where ended_at is null
union all
select 'reservation', call_id, format('attempt %s, link %s, %s', attempt, link_id, state)
from reservations where ended_at is null;

commit;
