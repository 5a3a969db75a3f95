-- Who may take how much: logins are slowed down by account and stopped by network, and accounts have limits of their
-- own. Touches no table of calls and no history.

-- Accounts at which a network failed to log in. One row for each, however often it tried.
create table login_tries (
    network text not null,
    account text not null,
    last_at timestamptz not null default now(),
    primary key (network, account)
);
create index login_tries_last_at_idx on login_tries (last_at);
grant select, insert, update, delete on login_tries to capconduit_admin;

-- Browsers that logged in to an account before: others who fail at that account do not stop them. `token_hash` is the
-- SHA-256 of the cookie.
create table login_devices (
    device_id bigint generated always as identity primary key,
    user_id int not null references users on delete cascade,
    token_hash bytea not null,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    constraint login_devices_token_hash_key unique (token_hash)
);
create index login_devices_user_id_idx on login_devices (user_id);
create index login_devices_last_seen_at_idx on login_devices (last_seen_at);
alter table login_devices enable row level security;
create policy operator on login_devices to capconduit_admin using (true) with check (true);
create policy tenant on login_devices to capconduit_api
    using (user_id = current_tenant()) with check (user_id = current_tenant());
grant select, insert, update, delete on login_devices to capconduit_admin;

-- What an account may have at most, where staff said something else than the configuration does.
create table account_limits (
    user_id int not null references users on delete cascade,
    kind text not null,
    most bigint not null,
    set_at timestamptz not null default now(),
    primary key (user_id, kind),
    constraint account_limits_kind_check check (kind in
        ('dids', 'campaigns', 'links', 'keys', 'recording_bytes')),
    constraint account_limits_most_check check (most >= 0)
);
alter table account_limits enable row level security;
create policy operator on account_limits to capconduit_admin using (true) with check (true);
create policy tenant on account_limits to capconduit_api using (user_id = current_tenant());
grant select, insert, update, delete on account_limits to capconduit_admin;
grant select on account_limits to capconduit_api;
