-- Staff manages sellers' campaigns, links and DIDs, and more of what operators need.

-- Locks what a campaign's calls are counted in, in the order in which claims do, so that its deletion waits for
-- a claim under way and does not meet it half way. Of the seller's own campaigns, or of all for staff. The setting
-- `role` is what `set local role` set: this function does not change it.
create or replace function lock_calls_of_campaign(of_id int) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform from campaigns
        where id = of_id and (user_id = current_tenant() or current_setting('role') = 'capconduit_admin');
    if not found then
        return;
    end if;
    perform from campaign_rotations where campaign_id = of_id for update;
    perform from campaign_client_settings where campaign_id = of_id order by id for update;
end
$$;

-- step: whose calls a client takes
-- `open`: of every seller; `granted`: of sellers with a row in client_grants. The version before takes no notice.
alter table clients add column if not exists access text not null default 'open';

-- step: what it can be
alter table clients drop constraint if exists clients_access_check;
alter table clients add constraint clients_access_check check (access in ('open', 'granted')) not valid;
grant select (access) on clients to capconduit_api;

-- step: grants
-- Which sellers may send calls to a client that is not open to all. Each is given by staff.
create table if not exists client_grants (
    client_id int not null references clients on delete cascade,
    user_id int not null references users on delete cascade,
    granted_by text not null,
    granted_at timestamptz not null default now(),
    primary key (client_id, user_id)
);
create index if not exists client_grants_user_id_idx on client_grants (user_id);
alter table client_grants enable row level security;
drop policy if exists daemon on client_grants;
drop policy if exists operator on client_grants;
drop policy if exists tenant on client_grants;
create policy daemon on client_grants to capconduit_app using (true) with check (true);
create policy operator on client_grants to capconduit_admin using (true) with check (true);
create policy tenant on client_grants to capconduit_api using (user_id = current_tenant());
grant select on client_grants to capconduit_app, capconduit_api;
grant select, insert, delete on client_grants to capconduit_admin;

-- step: who ended a call
-- `caller`, `target` or `system`; null where that was not seen, as in all records before this.
alter table call_logs add column if not exists hangup_by text;

-- step: who watches which Asterisk
-- Staff is told which daemon can end a call.
grant select on server_observers to capconduit_admin;
