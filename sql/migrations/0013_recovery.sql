-- Access that can be taken back: passwords that must be changed, keys that keep the role they were made with, a second
-- factor, and a log of what concerns security. Old daemons go on beside it: each new column may be left out.

-- step: Passwords that are for one login only
alter table users add column if not exists must_change_password boolean not null default false;

-- step: When a session last proved who it is; null: when it was opened
alter table sessions add column if not exists authenticated_at timestamptz;

-- step: The role that a key was made with: of another role it opens nothing
alter table api_keys add column if not exists role varchar(10);

-- step: Keys that are there have the role of now
update api_keys k set role = u.role from users u where u.id = k.user_id and k.role is null;

-- step: Daemons of the version before do not name the role
create or replace function set_role_of_key() returns trigger language plpgsql as $$
begin
    select role into new.role from users where id = new.user_id;
    return new;
end
$$;
create or replace trigger set_role_of_key before insert on api_keys for each row
    when (new.role is null) execute function set_role_of_key();

-- step: Networks that a key was used from: the first use from each is a security event
create table if not exists api_key_networks (
    key_id bigint not null references api_keys on delete cascade,
    network text not null,
    user_id int not null,
    first_seen_at timestamptz not null default now(),
    primary key (key_id, network)
);

-- step: Second factors. The secret is sealed with the key of the configuration; unconfirmed ones open nothing
-- `last_step` is the last 30 seconds whose code was used: no code is taken twice.
create table if not exists totp_secrets (
    user_id int primary key references users on delete cascade,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    confirmed_at timestamptz,
    last_step bigint not null default 0,
    failures int not null default 0,
    last_failed_at timestamptz,
    locked_until timestamptz
);

-- step: Codes for those who lost their second factor, as SHA-256
create table if not exists recovery_codes (
    user_id int not null references users on delete cascade,
    hash bytea not null,
    used_at timestamptz,
    primary key (user_id, hash)
);

-- step: What concerns security, by month. `user_id` is the seller whom it concerns, `actor_id` who did it
create sequence if not exists security_events_event_id_seq as bigint;
create table if not exists security_events (
    event_id bigint not null default nextval('security_events_event_id_seq'),
    at timestamptz not null,
    event text not null,
    actor_id int,
    actor text,
    actor_role text,
    via text,
    user_id int,
    object_type text,
    object_id text,
    detail jsonb,
    request_id text,
    address text,
    user_agent text
) partition by range (at);
alter sequence security_events_event_id_seq owned by security_events.event_id;
create index if not exists security_events_user_id_idx on security_events (user_id, event_id desc);
create index if not exists security_events_actor_id_idx on security_events (actor_id, event_id desc);
create index if not exists security_events_event_idx on security_events (event, event_id desc);
create index if not exists security_events_event_id_idx on security_events (event_id desc);
create index if not exists security_events_at_idx on security_events (at);
do $$
begin
    if to_regclass('security_events_default') is null then
        create table security_events_default (like security_events including all, primary key (event_id));
        alter table security_events_default enable row level security;
        alter table security_events attach partition security_events_default default;
    end if;
end
$$;

-- step: Who may do what with them
do $$
declare
    secured text;
begin
    foreach secured in array array['api_key_networks', 'totp_secrets', 'recovery_codes', 'security_events'] loop
        execute format('alter table %I enable row level security', secured);
        execute format('drop policy if exists operator on %I', secured);
        execute format('create policy operator on %I to capconduit_admin using (true) with check (true)', secured);
        execute format('drop policy if exists tenant on %I', secured);
        execute format('create policy tenant on %I to capconduit_api
                            using (user_id = current_tenant()) with check (user_id = current_tenant())', secured);
    end loop;
end
$$;
-- Secrets and codes are not for the role of sellers: log-ins work in the other one.
grant select, insert on api_key_networks to capconduit_admin;
grant select, insert, update, delete on totp_secrets, recovery_codes to capconduit_admin;
grant select, insert on security_events to capconduit_admin;
grant usage on sequence security_events_event_id_seq to capconduit_admin;
grant select on security_events to capconduit_api;

-- step: Security events are history: months are made and dropped as those of the others
create or replace function history_tables()
returns table (table_name text, time_column text, by_list boolean, own_key text, storage text)
language sql immutable as $$
    values ('call_logs', 'timestamp_start', false, null, ''),
           ('call_attempts', 'month', true, 'call_id, attempt', 'with (fillfactor = 100)'),
           ('decisions', 'decided_at', false, 'decision_id', ''),
           ('audit_log', 'at', false, 'audit_id', ''),
           ('security_events', 'at', false, 'event_id', '')
$$;

-- Rows in default partitions, as the daemon counts them from this version on.
create or replace function history_strays_of_all(at_most int)
returns table (table_name text, stray_rows bigint, ever_inserted bigint)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
begin
    for table_name in select t.table_name from history_tables() t loop
        execute format('select count(*) from (select from %I limit %s) few', table_name || '_default', at_most)
            into stray_rows;
        ever_inserted := pg_stat_get_tuples_inserted((table_name || '_default')::regclass);
        return next;
    end loop;
end
$$;
revoke execute on function history_strays_of_all(int) from public;
grant execute on function history_strays_of_all(int) to capconduit_app;

-- Daemons of the version before know the first four tables only.
create or replace function history_strays(at_most int)
returns table (table_name text, stray_rows bigint, ever_inserted bigint)
language sql volatile security definer set search_path = public, pg_temp as $$
    select table_name, stray_rows, ever_inserted from history_strays_of_all(at_most) where table_name <> 'security_events'
$$;

-- step: The months to begin with
select make_history_month('security_events', (date_trunc('month', now() at time zone 'UTC') + make_interval(months => n))::date)
from generate_series(-1, 3) n;
