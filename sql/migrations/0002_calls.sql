-- What happens to calls: reservations against caps, attempts, decisions and the call log.
--
-- PostgreSQL reads the text of a table's CHECKs anew for every statement that writes to it, so the tables each
-- call writes have one CHECK each that says all there is to say.
--
-- `calls` and `reservations` hold the calls under way and the recently ended ones; `call_attempts`,
-- `decisions` and `call_logs` are history. One number names a call everywhere: calls.call_id =
-- call_logs.id. Tables of calls under way reference no catalogue row, so that an administrator's delete
-- never waits for, or breaks, a live call.

-- Use of a link's caps. Held and confirmed always equal the counts of open reservations; both change in
-- the same transaction. Half-empty pages keep these hot updates from touching the index.
create table link_usage (
    link_id int primary key references campaign_client_settings on delete cascade,
    held int not null default 0,
    confirmed int not null default 0,
    constraint link_usage_check check (held >= 0 and confirmed >= 0)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Whose turn it is in a campaign. A decision that moves the turn counts on the turn it has seen, so that
-- such decisions of one campaign follow one another.
create table campaign_rotations (
    campaign_id int primary key references campaigns on delete cascade,
    state jsonb not null default '{}',
    turn bigint not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Rows written straight to campaigns and links must be routable at the next call.
create function add_link_usage() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into link_usage (link_id) values (new.id) on conflict do nothing;
    return null;
end
$$;
create trigger add_link_usage after insert on campaign_client_settings
    for each row execute function add_link_usage();

create function add_campaign_rotation() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into campaign_rotations (campaign_id) values (new.id) on conflict do nothing;
    return null;
end
$$;
create trigger add_campaign_rotation after insert on campaigns
    for each row execute function add_campaign_rotation();

-- The call log, one row a call, by month of its start.
create sequence call_logs_id_seq as bigint;
create table call_logs (
    id bigint not null default nextval('call_logs_id_seq'),
    user_id int references users on delete set null,
    campaign_id int references campaigns on delete set null,
    did_id int references dids on delete set null,
    client_id int references clients on delete set null,
    campaign_client_setting_id int references campaign_client_settings on delete set null,
    incoming_did_number varchar(50) not null,
    caller_id_num varchar(50),
    caller_id_name varchar(100),
    timestamp_start timestamptz not null,
    timestamp_answered timestamptz,
    timestamp_end timestamptz,
    duration_seconds int,
    billsec_seconds int,
    call_status varchar(50) not null,
    hangup_cause_code int,
    hangup_cause_text varchar(50),
    asterisk_uniqueid varchar(50),
    asterisk_linkedid varchar(50),
    refusal_reason text,
    attempts int not null default 0,
    created_at timestamptz not null default now(),
    constraint call_logs_pkey primary key (id, timestamp_start),
    constraint call_logs_duration_seconds_check check (duration_seconds >= 0),
    constraint call_logs_billsec_seconds_check check (billsec_seconds >= 0),
    constraint call_logs_attempts_check check (attempts >= 0)
) partition by range (timestamp_start);
alter sequence call_logs_id_seq owned by call_logs.id;
create index call_logs_user_start_idx on call_logs (user_id, timestamp_start desc, id desc);
create index call_logs_campaign_id_idx on call_logs (campaign_id);
create index call_logs_did_id_idx on call_logs (did_id);
create index call_logs_client_id_idx on call_logs (client_id);
create index call_logs_campaign_client_setting_id_idx on call_logs (campaign_client_setting_id);
create index call_logs_asterisk_uniqueid_idx on call_logs (asterisk_uniqueid);
create index call_logs_asterisk_linkedid_idx on call_logs (asterisk_linkedid);

-- Takes rows of months nobody prepared, so that a record is never refused.
create table call_logs_default partition of call_logs default;

-- Makes the missing partitions from the month of `first_day` on and returns how many. The daemon calls
-- it as a role that may not create tables. A new table is filled with what the default partition holds
-- of its month and attached: that locks the parent only against other changes of its shape.
create function ensure_call_log_partitions(first_day date, months int) returns int
language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '2s' set timezone = 'UTC' as $$
declare
    month_start date;
    partition_name text;
    made int := 0;
begin
    if months not between 1 and 36 then
        raise exception 'months must be between 1 and 36, not %', months;
    end if;
    perform pg_advisory_xact_lock(hashtext('capconduit call_logs partitions'));
    for i in 0 .. months - 1 loop
        month_start := date_trunc('month', first_day) + make_interval(months => i);
        partition_name := 'call_logs_' || to_char(month_start, 'YYYY_MM');
        if to_regclass(partition_name) is null then
            execute format('create table %I (like call_logs including all)', partition_name);
            execute format(
                'with moved as (
                     delete from call_logs_default
                     where timestamp_start >= %L and timestamp_start < %L returning *)
                 insert into %I select * from moved',
                month_start, month_start + interval '1 month', partition_name);
            execute format('alter table call_logs attach partition %I for values from (%L) to (%L)',
                           partition_name, month_start, month_start + interval '1 month');
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;
revoke execute on function ensure_call_log_partitions(date, int) from public;
select ensure_call_log_partitions((date_trunc('month', now()) - interval '1 month')::date, 5);

-- Calls under way, and ended ones for a while so that a late or repeated report finds them.
create table calls (
    call_id bigint primary key default nextval('call_logs_id_seq'),
    asterisk_uniqueid varchar(50) not null,
    asterisk_linkedid varchar(50) not null,
    channel varchar(80) not null,
    -- The Asterisk it is on, once known. Only an observer of that server may declare it gone.
    server_name text,
    -- The daemon that was asked first.
    node_name text not null,
    user_id int,
    campaign_id int,
    did_id int,
    incoming_did_number varchar(50) not null,
    caller_id_num varchar(50),
    caller_id_name varchar(100),
    started_at timestamptz not null,
    refused_at timestamptz,
    refusal_reason text,
    -- Its end was reported before it was ever routed. For a moment it keeps its unique id, so that a question
    -- asked before the end and answered after it is not taken for a new call; then this is cleared.
    over_at timestamptz,
    ended_at timestamptz,
    -- The dialplan's absolute timeout has cut the call by then, whatever else was lost.
    expires_at timestamptz not null,
    -- Asterisk's unique ids come again after its restart: only one call under way has each. A column
    -- rather than a partial index, which a plan made on an empty table would read through for ever.
    uniqueid_under_way varchar(50)
        generated always as
            (case when ended_at is null or over_at is not null then asterisk_uniqueid end) stored,
    constraint calls_uniqueid_under_way_key unique (uniqueid_under_way)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index calls_ended_at_idx on calls (ended_at) where ended_at is not null;

-- A hold on a link's caps: held -> confirmed -> released, held -> released, any open one -> expired.
create table reservations (
    reservation_id bigint generated always as identity,
    call_id bigint not null,
    attempt int not null,
    link_id int not null,
    user_id int not null,
    node_name text not null,
    state text not null,
    held_at timestamptz not null,
    confirmed_at timestamptz,
    ended_at timestamptz,
    constraint reservations_pkey primary key (call_id, attempt),
    constraint reservations_state_check check (
        case state
            when 'held' then confirmed_at is null and ended_at is null
            when 'confirmed' then confirmed_at is not null and ended_at is null
            when 'released' then ended_at is not null
            when 'expired' then ended_at is not null
            else false
        end)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index reservations_open_idx on reservations (call_id) where ended_at is null;

-- Every target tried, and what came of it.
create table call_attempts (
    call_id bigint not null,
    attempt int not null,
    reservation_id bigint not null,
    user_id int not null,
    link_id int not null,
    client_id int not null,
    endpoint_id varchar(40) not null,
    offered_at timestamptz not null,
    ring_timeout_seconds int not null,
    answered_at timestamptz,
    ended_at timestamptz,
    outcome text,
    dial_status text,
    hangup_cause_code int,
    primary key (call_id, attempt),
    constraint call_attempts_outcome_check check (
        case
            when outcome is null then ended_at is null
            else ended_at is not null
                 and outcome in ('answered', 'failed', 'abandoned', 'not_dialled', 'lost')
        end)
) with (fillfactor = 80);

-- Every decision with all it depended on: `question` gives the same `ranking` again.
create table decisions (
    decision_id bigint generated always as identity primary key,
    call_id bigint not null,
    attempt int not null,
    user_id int,
    campaign_id int,
    node_name text not null,
    decided_at timestamptz not null,
    verdict text not null,
    reason text,
    link_id int,
    question jsonb,
    ranking jsonb,
    remarks text[] not null default '{}',
    constraint decisions_verdict_check check (
        case verdict
            when 'DIAL' then link_id is not null and reason is null
            when 'REJECT' then link_id is null and reason is not null
            else false
        end)
);
create index decisions_call_id_idx on decisions (call_id);
