-- What the HTTP API keeps: sessions, API keys, failed logins, idempotency keys, the audit log; who of its
-- roles may do what; and references of the call log that let go of deleted rows without stopping anybody.

-- The API works in one of two roles, chosen per request:
--   capconduit_api    a seller's requests: row level security shows one owner's rows only
--   capconduit_admin  requests of administrators and staff, logins, internal callers
do $$
begin
    if not exists (select from pg_roles where rolname = 'capconduit_admin') then
        begin
            create role capconduit_admin nosuperuser nocreatedb nocreaterole inherit nobypassrls;
        exception
            when duplicate_object or unique_violation then null;
            when insufficient_privilege then
                raise exception 'the role capconduit_admin does not exist and % may not create it', current_user
                    using hint = format('As a superuser run: create role capconduit_admin; grant capconduit_admin to %I;',
                                        current_user);
        end;
    end if;
    if (select rolcreaterole or rolsuper from pg_roles where rolname = current_user)
       and not pg_has_role(current_user, 'capconduit_admin', 'member') then
        execute format('grant capconduit_admin to %I', current_user);
    end if;
end
$$;

-- Logins. Tokens are kept as SHA-256 only. `token_hash` is the session cookie's; `remember_hash` is the
-- remember cookie's, which opens a new session once and is then replaced.
create table sessions (
    session_id bigint generated always as identity primary key,
    user_id int not null references users on delete cascade,
    token_hash bytea not null,
    remember_hash bytea not null,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    idle_expires_at timestamptz not null,
    expires_at timestamptz not null,
    remember_expires_at timestamptz not null,
    address text not null,
    user_agent text not null,
    constraint sessions_token_hash_key unique (token_hash),
    constraint sessions_remember_hash_key unique (remember_hash)
) with (fillfactor = 80);
create index sessions_user_id_idx on sessions (user_id);
create index sessions_remember_expires_at_idx on sessions (remember_expires_at);

-- Keys for programs. `prefix` finds the row, the secret is kept as SHA-256.
create table api_keys (
    key_id bigint generated always as identity primary key,
    user_id int not null references users on delete cascade,
    name varchar(100) not null,
    prefix text not null,
    secret_hash bytea not null,
    scopes text[] not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint api_keys_prefix_key unique (prefix)
);
create index api_keys_user_id_idx on api_keys (user_id);

-- Failed logins, by account and by network. `subject` is `account:` and a hash, or `network:` and a prefix.
create table login_failures (
    subject text primary key,
    failures int not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    locked_until timestamptz
);
create index login_failures_last_at_idx on login_failures (last_at);

-- Answers to POSTs that carried an Idempotency-Key, per account. Without status the first one is at work.
create table idempotency_keys (
    user_id int not null references users on delete cascade,
    idempotency_key text not null,
    request_hash bytea not null,
    status int,
    headers jsonb,
    body bytea,
    created_at timestamptz not null default now(),
    primary key (user_id, idempotency_key)
);
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);

-- Every change made through the API or the command line. `user_id` is the tenant whose thing was changed.
create table audit_log (
    audit_id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor_id int,
    actor text not null,
    via text not null,
    user_id int,
    action text not null,
    object_type text not null,
    object_id text not null,
    before jsonb,
    after jsonb,
    reason text,
    request_id text,
    address text
);
create index audit_log_user_id_idx on audit_log (user_id, audit_id desc);
create index audit_log_object_idx on audit_log (object_type, object_id, audit_id desc);
create index audit_log_actor_id_idx on audit_log (actor_id, audit_id desc);


-- The call log and deleted rows. A foreign key would have one transaction touch every record of a deleted
-- seller, and the end of a live call wait for it. So: the reference is cleared at once in the first few hundred
-- records, and by the daemon, in batches, in the rest. Nobody reads a reference that leads nowhere: queries join.
do $$
declare
    key_name text;
begin
    for key_name in select conname from pg_constraint where conrelid = 'call_logs'::regclass and contype = 'f' loop
        execute format('alter table call_logs drop constraint %I', key_name);
    end loop;
end
$$;
create index call_logs_start_idx on call_logs (timestamp_start desc, id desc);

create table deleted_references (
    column_name text not null,
    id int not null,
    deleted_at timestamptz not null default now(),
    primary key (column_name, id)
);

-- Clears up to `at_most` references of one deleted row; returns how many it cleared.
create function clear_call_log_references(of_column text, of_id int, at_most int) returns int
language plpgsql security definer set search_path = public, pg_temp set enable_seqscan = off as $$
declare
    cleared int;
    is_back boolean;
begin
    -- A row with this id may be there again: tables that were emptied and filled anew.
    is_back := case of_column
        when 'user_id' then exists (select from users where id = of_id)
        when 'campaign_id' then exists (select from campaigns where id = of_id)
        when 'did_id' then exists (select from dids where id = of_id)
        when 'client_id' then exists (select from clients where id = of_id)
        when 'campaign_client_setting_id' then exists (select from campaign_client_settings where id = of_id)
    end;
    if is_back then
        return 0;
    end if;
    if of_column not in ('user_id', 'campaign_id', 'did_id', 'client_id', 'campaign_client_setting_id') then
        raise exception 'call_logs has no reference %', of_column;
    end if;
    execute format(
        'with few as (
             select id, timestamp_start from call_logs where %1$I = $1 limit $2 for update skip locked)
         update call_logs l set %1$I = null from few
         where l.id = few.id and l.timestamp_start = few.timestamp_start', of_column)
        using of_id, at_most;
    get diagnostics cleared = row_count;
    return cleared;
end
$$;
revoke execute on function clear_call_log_references(text, int, int) from public;

create function note_deleted_references() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    row_id int;
    room int := 500;
begin
    for row_id in select id from gone loop
        if room > 0 then
            room := room - clear_call_log_references(tg_argv[0], row_id, room);
        end if;
        insert into deleted_references (column_name, id) values (tg_argv[0], row_id)
            on conflict do nothing;
    end loop;
    return null;
end
$$;
create trigger note_deleted_references after delete on users referencing old table as gone
    for each statement execute function note_deleted_references('user_id');
create trigger note_deleted_references after delete on campaigns referencing old table as gone
    for each statement execute function note_deleted_references('campaign_id');
create trigger note_deleted_references after delete on dids referencing old table as gone
    for each statement execute function note_deleted_references('did_id');
create trigger note_deleted_references after delete on clients referencing old table as gone
    for each statement execute function note_deleted_references('client_id');
create trigger note_deleted_references after delete on campaign_client_settings referencing old table as gone
    for each statement execute function note_deleted_references('campaign_client_setting_id');

grant select, delete on deleted_references to capconduit_app;
grant execute on function clear_call_log_references(text, int, int) to capconduit_app;

-- A record from outside, for numbers the daemon did not carry. The id of a link counts one answered call.
-- Two reports of the same unique id wait for each other here, so that one of them is refused.
create function lock_uniqueid(asterisk_uniqueid text) returns void language sql as
    $$ select pg_advisory_xact_lock(hashtextextended('capconduit call ' || asterisk_uniqueid, 0)) $$;

-- Administrators, staff, logins, internal callers.
grant usage on schema public to capconduit_admin;
grant select, insert, update, delete on users, clients, pjsip_endpoints, pjsip_aors, pjsip_auths,
    dids, campaigns, campaign_dids, campaign_client_settings, sessions, api_keys, login_failures,
    idempotency_keys to capconduit_admin;
grant select, insert, update on call_logs to capconduit_admin;
grant select, insert on audit_log to capconduit_admin;
grant select on calls, reservations, call_attempts, decisions, campaign_rotations to capconduit_admin;
grant select, update on link_usage to capconduit_admin;
grant usage on all sequences in schema public to capconduit_admin;

-- Sellers.
grant select (id, username, email, role, status, full_name, company_name, created_at, updated_at)
    on users to capconduit_api;
grant select (id, client_identifier, name, department, status) on clients to capconduit_api;
grant select, insert, update, delete on dids, campaigns, campaign_client_settings to capconduit_api;
grant select, insert, delete on campaign_dids to capconduit_api;
grant select on call_logs, calls, reservations, call_attempts, decisions, campaign_rotations,
    link_usage to capconduit_api;
grant select, insert on audit_log to capconduit_api;
grant select on sessions, api_keys, idempotency_keys to capconduit_api;
grant usage on sequence dids_id_seq, campaigns_id_seq, campaign_client_settings_id_seq to capconduit_api;

do $$
declare
    secured text;
begin
    foreach secured in array array['users', 'dids', 'campaigns', 'campaign_dids', 'campaign_client_settings',
                                   'campaign_rotations', 'link_usage', 'call_logs', 'calls', 'reservations',
                                   'call_attempts', 'decisions'] loop
        execute format('create policy operator on %I to capconduit_admin using (true) with check (true)', secured);
    end loop;
    foreach secured in array array['sessions', 'api_keys', 'idempotency_keys', 'audit_log'] loop
        execute format('alter table %I enable row level security', secured);
        execute format('create policy operator on %I to capconduit_admin using (true) with check (true)', secured);
        execute format('create policy tenant on %I to capconduit_api
                            using (user_id = current_tenant()) with check (user_id = current_tenant())', secured);
    end loop;
end
$$;

-- Ties and links may be written only between rows of one owner.
drop policy tenant on campaign_dids;
create policy tenant on campaign_dids to capconduit_api
    using (exists (select from campaigns c where c.id = campaign_id))
    with check (exists (select from campaigns c where c.id = campaign_id)
                and exists (select from dids d where d.id = did_id));

-- Campaigns and links. Row level security hides what is another seller's; these two tell that there is such a
-- thing, and nothing else of it, for answers that must say "not yours" rather than "not there".
create function campaign_exists(of_id int) returns boolean
language sql stable security definer set search_path = public, pg_temp as
    $$ select exists (select from campaigns where id = of_id) $$;
create function link_exists(of_id int, of_campaign_id int) returns boolean
language sql stable security definer set search_path = public, pg_temp as
    $$ select exists (select from campaign_client_settings where id = of_id and campaign_id = of_campaign_id) $$;

-- Locks what a campaign's calls are counted in, in the order in which claims do, so that its deletion waits for
-- a claim under way and does not meet it half way. Of the caller's own campaigns only.
create function lock_calls_of_campaign(of_id int) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform from campaigns where id = of_id and user_id = current_tenant();
    if not found then
        return;
    end if;
    perform from campaign_rotations where campaign_id = of_id for update;
    perform from campaign_client_settings where campaign_id = of_id order by id for update;
end
$$;
revoke execute on function campaign_exists(int), link_exists(int, int), lock_calls_of_campaign(int) from public;
grant execute on function campaign_exists(int), link_exists(int, int), lock_calls_of_campaign(int)
    to capconduit_api, capconduit_admin;

-- The count of answered calls is not a seller's to write.
revoke insert, update on campaign_client_settings from capconduit_api;
grant insert (campaign_id, client_id, status, max_concurrency, total_calls_allowed, forwarding_priority, weight)
    on campaign_client_settings to capconduit_api;
grant update (status, max_concurrency, total_calls_allowed, forwarding_priority, weight, updated_at)
    on campaign_client_settings to capconduit_api;

-- The audit log is read by who did it, and by when.
create index audit_log_actor_idx on audit_log (actor, audit_id desc);
create index audit_log_at_idx on audit_log (at);

-- Accounts and clients.

-- Names that differ in case only are refused for new accounts; those that exist may be such.
create index users_lower_username_idx on users (lower(username));
create index users_lower_email_idx on users (lower(email));

-- Of existing rows nothing is asked until they change.
alter table pjsip_endpoints add constraint pjsip_endpoints_direct_media_check
    check (direct_media in ('yes', 'no', 'nonat', 'update')) not valid;
alter table pjsip_auths add constraint pjsip_auths_auth_type_check
    check (auth_type in ('userpass', 'md5', 'google_oauth')) not valid;

-- Asterisk takes a semicolon in a realtime column for the end of a first value and the begin of a second, unless
-- it is written ^3B: without this the address sip:host;transport=tcp is two addresses, one of them senseless.
drop view ps_endpoints, ps_aors, ps_auths;
create view ps_endpoints as
    select e.id, e.transport, e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media, e.outbound_auth,
           replace(e.from_user, ';', '^3B')::varchar(240) as from_user, e.from_domain,
           replace(e.callerid, ';', '^3B')::varchar(240) as callerid,
           null::text as mailboxes  -- looked for at start by the message waiting module
    from pjsip_endpoints e join clients c on c.id = e.client_id
    where c.status = 'active';
create view ps_aors as
    select a.id, replace(a.contact, ';', '^3B')::varchar(765) as contact, a.max_contacts, a.qualify_frequency,
           null::text as mailboxes
    from pjsip_aors a join clients c on c.id = a.client_id
    where c.status = 'active';
create view ps_auths as
    select a.id, a.auth_type, replace(a.username, ';', '^3B')::varchar(240) as username,
           replace(a.password, ';', '^3B')::varchar(384) as password,
           replace(a.realm, ';', '^3B')::varchar(240) as realm
    from pjsip_auths a join clients c on c.id = a.client_id
    where c.status = 'active';
grant select on ps_endpoints, ps_aors, ps_auths to capconduit_asterisk;

-- Remember tokens that were used and replaced: within moments it is another tab of the same browser, later a
-- thief, or his victim, and the session ends.
create table replaced_remember_tokens (
    token_hash bytea primary key,
    session_id bigint not null references sessions on delete cascade,
    replaced_at timestamptz not null default now()
);
create index replaced_remember_tokens_session_id_idx on replaced_remember_tokens (session_id);
grant select, insert, delete on replaced_remember_tokens to capconduit_admin;
