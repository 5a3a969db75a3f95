-- Who may read and write what. The roles own nothing; row level security is the second wall behind the
-- filters in our queries. The owner of the tables is meant for migrations only.

-- Asterisk: exactly the columns res_pjsip knows, of clients that may take calls.
create view ps_endpoints as
    select e.id, e.transport, e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media,
           e.outbound_auth, e.from_user, e.from_domain, e.callerid,
           null::text as mailboxes  -- looked for at start by the message waiting module
    from pjsip_endpoints e join clients c on c.id = e.client_id
    where c.status = 'active';
create view ps_aors as
    select a.id, a.contact, a.max_contacts, a.qualify_frequency, null::text as mailboxes
    from pjsip_aors a join clients c on c.id = a.client_id
    where c.status = 'active';
create view ps_auths as
    select a.id, a.auth_type, a.username, a.password, a.realm
    from pjsip_auths a join clients c on c.id = a.client_id
    where c.status = 'active';
grant usage on schema public to capconduit_asterisk, capconduit_app, capconduit_api;
grant select on ps_endpoints, ps_aors, ps_auths to capconduit_asterisk;

-- The daemon. Of the catalogue it writes only the count of answered calls; password hashes and SIP
-- secrets are not its business.
grant select (id, username, role, status) on users to capconduit_app;
grant select on clients, pjsip_endpoints, pjsip_aors, dids, campaigns, campaign_dids,
    campaign_client_settings to capconduit_app;
grant update (current_total_calls) on campaign_client_settings to capconduit_app;
grant select, insert, update on link_usage, campaign_rotations, call_logs, call_attempts
    to capconduit_app;
grant select, insert on decisions to capconduit_app;
grant select, insert, update, delete on calls, reservations to capconduit_app;
grant usage on sequence call_logs_id_seq to capconduit_app;
grant execute on function ensure_call_log_partitions(date, int) to capconduit_app;

-- The tenant of a request, set for one transaction: set_config('capconduit.user_id', …, true).
create function current_tenant() returns int language sql stable parallel safe
    return nullif(current_setting('capconduit.user_id', true), '')::int;

do $$
declare
    tenant_table text;
begin
    -- Tables with an owner column.
    foreach tenant_table in array array['dids', 'campaigns', 'call_logs', 'calls', 'reservations',
                                        'call_attempts', 'decisions'] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('create policy daemon on %I to capconduit_app using (true) with check (true)',
                       tenant_table);
        execute format('create policy tenant on %I to capconduit_api
                            using (user_id = current_tenant()) with check (user_id = current_tenant())',
                       tenant_table);
    end loop;
    -- Tables owned through their campaign, whose own policy decides.
    foreach tenant_table in array array['campaign_dids', 'campaign_client_settings',
                                        'campaign_rotations'] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('create policy daemon on %I to capconduit_app using (true) with check (true)',
                       tenant_table);
        execute format('create policy tenant on %I to capconduit_api
                            using (exists (select from campaigns c where c.id = campaign_id))',
                       tenant_table);
    end loop;
end
$$;
alter table users enable row level security;
create policy daemon on users to capconduit_app using (true) with check (true);
create policy tenant on users to capconduit_api using (id = current_tenant());
alter table link_usage enable row level security;
create policy daemon on link_usage to capconduit_app using (true) with check (true);
create policy tenant on link_usage to capconduit_api
    using (exists (select from campaign_client_settings s where s.id = link_id));
