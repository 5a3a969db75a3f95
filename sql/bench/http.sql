-- What scripts/bench http asks for: 1,000 sellers, 10,000 DIDs, 5,000 campaigns, 200 clients, 20,000 links and
-- :logs calls of the last 90 days. A tenth of the calls is seller 1's, and the shares fall from there as the cube
-- root does. For an empty, migrated database of the benchmark's own: indexes of the call log go and come back.
--
--     psql -v logs=10000000 -f sql/bench/http.sql
--
-- Seller n is user n, his session's token is `bench-session-n`; that of user 1001, the administrator
-- `bench-admin`, is `bench-session-admin`. Nobody can log in with a password until one is set.
\set ON_ERROR_STOP on
set client_min_messages = warning;
set maintenance_work_mem = '1GB';
set synchronous_commit = off;
select setseed(0.42);

insert into users (username, email, password_hash, role, status)
select 'bench-seller' || n, 'seller' || n || '@example.invalid', '!', 'user', 'active'
from generate_series(1, 1000) as n;
insert into users (username, email, password_hash, role, status)
values ('bench-admin', 'admin@example.invalid', '!', 'admin', 'active');

insert into sessions (user_id, token_hash, remember_hash, idle_expires_at, expires_at,
    remember_expires_at, address, user_agent)
select id, sha256(convert_to('bench-session-' || name, 'UTF8')),
    sha256(convert_to('bench-remember-' || name, 'UTF8')),
    now() + interval '1 day', now() + interval '1 day', now() + interval '1 day', '127.0.0.1', 'bench'
from users cross join lateral (select case role when 'admin' then 'admin' else id::text end as name) as named;

insert into clients (client_identifier, name, status)
select 'bench-' || n, 'Bench ' || n, 'active' from generate_series(1, 200) as n;
insert into pjsip_endpoints (id, client_id, aors, context)
select client_identifier, id, client_identifier, 'capconduit-none' from clients;
insert into pjsip_aors (id, client_id, contact)
select client_identifier, id, 'sip:' || client_identifier || '@192.0.2.1:5060' from clients;

-- DID d and campaign c are of the sellers whose numbers end as theirs do: d and c modulo 1,000.
insert into dids (number, user_id, status)
select '+1555' || lpad(n::text, 7, '0'), (n - 1) % 1000 + 1, 'active'
from generate_series(1, 10000) as n order by n;
insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
select (n - 1) % 1000 + 1, 'Campaign ' || n, 'active',
    (array['priority', 'round_robin', 'weighted'])[1 + n % 3], 30
from generate_series(1, 5000) as n order by n;
insert into campaign_dids (campaign_id, did_id)
select (n - 1) % 5000 + 1, n from generate_series(1, 10000) as n;
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
    forwarding_priority, weight)
select (n - 1) % 5000 + 1, (n - 1) / 5000 * 50 + (n - 1) % 50 + 1, 'active', 1000000, 0, 1 + n % 5
from generate_series(1, 20000) as n order by n;

-- Indexes are quicker made of what is there than kept while it comes.
create temp table dropped (id int generated always as identity, name text, made_again text);
insert into dropped (name, made_again)
select indexrelid::regclass::text, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') from pg_index
where indrelid = 'call_logs'::regclass and not indisprimary;
select format('drop index %s', name) from dropped \gexec
alter table call_logs drop constraint call_logs_pkey;
select ensure_call_log_partitions((now() - interval '90 days')::date, 6);

insert into call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
    incoming_did_number, caller_id_num, timestamp_start, timestamp_answered, timestamp_end,
    duration_seconds, billsec_seconds, call_status, hangup_cause_code, hangup_cause_text,
    asterisk_uniqueid, asterisk_linkedid, attempts, created_at)
select seller, campaign, did, (link - 1) / 5000 * 50 + (link - 1) % 50 + 1, link,
    '+1555' || lpad(did::text, 7, '0'), '+4930' || lpad((n % 9999991)::text, 7, '0'), started,
    case when n % 5 < 3 then started + interval '8 s' end, started + make_interval(secs => lasted),
    lasted, case when n % 5 < 3 then lasted - 8 else 0 end,
    (array['ANSWERED', 'ANSWERED', 'ANSWERED', 'NOANSWER', 'BUSY'])[n % 5 + 1], 16,
    'Normal call clearing', 'bench.' || n, 'bench.' || n, 1, started + make_interval(secs => lasted)
from (select n, 1 + floor(1000 * power(random(), 3))::int as seller,
             now() - interval '90 days' + n * (interval '90 days' / :logs) as started,
             8 + n % 300 as lasted
      from generate_series(1, :logs) as n) as calls
cross join lateral (select seller + 1000 * (n % 10) as did) as numbered
cross join lateral (select (did - 1) % 5000 + 1 as campaign) as tied
cross join lateral (select campaign + 5000 * (n % 4) as link) as linked;

alter table call_logs add constraint call_logs_pkey primary key (id, timestamp_start);
select made_again from dropped order by id \gexec
do $$
begin
    if exists (select from pg_index where indrelid = 'call_logs'::regclass and not indisvalid) then
        raise exception 'an index of call_logs did not come back';
    end if;
end
$$;

-- Only what was filled: a table vacuumed while empty is planned as empty, and scanned, ever after.
vacuum (analyze) users, clients, pjsip_endpoints, pjsip_aors, dids, campaigns, campaign_dids,
    campaign_client_settings, sessions, call_logs;
