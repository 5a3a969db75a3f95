-- Who may call whom: users, call centres with their PJSIP objects, DIDs, campaigns and links.
--
-- Table and column names are those of existing installations, which write to these tables directly and
-- whose rows count at the next call. What we add has defaults. Takes no lock on anything that exists.

-- Roles are the cluster's, not the database's: several databases, or several daemons at once, may make
-- them. None of them owns anything.
--   capconduit_app       what the daemon switches to after connecting; routes and records calls
--   capconduit_api       tenants' requests; sees one owner's rows only
--   capconduit_asterisk  Asterisk's realtime login; reads three views; has no password until given one
do $$
declare
    role_name text;
begin
    foreach role_name in array array['capconduit_app', 'capconduit_api', 'capconduit_asterisk'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            begin
                execute format('create role %I nosuperuser nocreatedb nocreaterole inherit nobypassrls', role_name);
            exception
                when duplicate_object or unique_violation then null;
                when insufficient_privilege then
                    raise exception 'the role % does not exist and % may not create it', role_name, current_user
                        using hint = format('As a superuser run: create role %I; grant %I to %I;',
                                            role_name, role_name, current_user);
            end;
        end if;
    end loop;
    if (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) then
        alter role capconduit_asterisk login;
        if not pg_has_role(current_user, 'capconduit_app', 'member') then
            execute format('grant capconduit_app, capconduit_api to %I', current_user);
        end if;
    end if;
end
$$;

create table users (
    id serial primary key,
    username varchar(80) not null,
    email varchar(120) not null,
    password_hash varchar(128) not null,
    role varchar(10) not null,
    status varchar(20) not null,
    full_name varchar(100),
    company_name varchar(100),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_username_key unique (username),
    constraint users_email_key unique (email),
    constraint users_role_check check (role in ('admin', 'staff', 'user')),
    constraint users_status_check
        check (status in ('active', 'inactive', 'pending_approval', 'suspended'))
);
create index users_role_idx on users (role);
create index users_status_idx on users (status);

create table clients (
    id serial primary key,
    client_identifier varchar(50) not null,
    name varchar(100) not null,
    department varchar(100),
    status varchar(10) not null,
    notes text,
    created_by int references users on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint clients_client_identifier_key unique (client_identifier),
    constraint clients_status_check check (status in ('active', 'inactive'))
);
create index clients_name_idx on clients (name);
create index clients_status_idx on clients (status);
create index clients_created_by_idx on clients (created_by);

create table pjsip_endpoints (
    id varchar(40) primary key,
    client_id int not null references clients on delete cascade,
    transport varchar(40),
    aors varchar(200),
    auth varchar(40),
    context varchar(80) not null,
    disallow varchar(200),
    allow varchar(200),
    direct_media varchar(10),
    outbound_auth varchar(40),
    from_user varchar(80),
    from_domain varchar(80),
    callerid varchar(80),
    config_updated_at timestamptz default now(),
    constraint pjsip_endpoints_client_id_key unique (client_id)
);

create table pjsip_aors (
    id varchar(40) primary key,
    client_id int not null references clients on delete cascade,
    contact varchar(255) not null,
    max_contacts int,
    qualify_frequency int,
    config_updated_at timestamptz default now(),
    constraint pjsip_aors_client_id_key unique (client_id)
);

create table pjsip_auths (
    id varchar(40) primary key,
    client_id int not null references clients on delete cascade,
    auth_type varchar(20),
    username varchar(80),
    password varchar(128),
    realm varchar(80),
    config_updated_at timestamptz default now(),
    constraint pjsip_auths_client_id_key unique (client_id)
);

create table dids (
    id serial primary key,
    number varchar(50) not null,
    user_id int not null references users on delete cascade,
    status varchar(10) not null,
    description varchar(255),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint dids_number_key unique (number),
    constraint dids_status_check check (status in ('active', 'inactive'))
);
create index dids_user_id_idx on dids (user_id);
create index dids_status_idx on dids (status);

create table campaigns (
    id serial primary key,
    user_id int not null references users on delete cascade,
    name varchar(100) not null,
    status varchar(10) not null,
    routing_strategy varchar(20) not null,
    dial_timeout_seconds int not null,
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint uq_user_campaign_name unique (user_id, name),
    constraint campaigns_status_check check (status in ('active', 'inactive', 'paused')),
    constraint campaigns_routing_strategy_check
        check (routing_strategy in ('priority', 'round_robin', 'weighted')),
    constraint campaigns_dial_timeout_seconds_check check (dial_timeout_seconds >= 1)
);
create index campaigns_user_id_idx on campaigns (user_id);
create index campaigns_status_idx on campaigns (status);

create table campaign_dids (
    campaign_id int not null references campaigns on delete cascade,
    did_id int not null references dids on delete cascade,
    primary key (campaign_id, did_id)
);
-- Each call looks up the campaigns of its DID here.
create index campaign_dids_did_id_idx on campaign_dids (did_id);

create table campaign_client_settings (
    id serial primary key,
    campaign_id int not null references campaigns on delete cascade,
    client_id int not null references clients on delete cascade,
    status varchar(10) not null,
    max_concurrency int not null,
    total_calls_allowed int,
    current_total_calls int not null default 0,
    forwarding_priority int not null,
    weight int not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint campaign_client_settings_campaign_client_key unique (campaign_id, client_id),
    constraint campaign_client_settings_status_check check (status in ('active', 'inactive')),
    constraint campaign_client_settings_max_concurrency_check check (max_concurrency >= 1),
    constraint campaign_client_settings_total_calls_allowed_check check (total_calls_allowed >= 0),
    constraint campaign_client_settings_current_total_calls_check check (current_total_calls >= 0),
    constraint campaign_client_settings_forwarding_priority_check check (forwarding_priority >= 0),
    constraint campaign_client_settings_weight_check check (weight >= 1)
) with (fillfactor = 70);
create index campaign_client_settings_client_id_idx on campaign_client_settings (client_id);
