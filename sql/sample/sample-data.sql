-- A small world to look around in: two sellers with DIDs and campaigns, three call centres.
-- For an empty database only; `capconduit migrate --sample-data` and `psql -v hash=! -f` load it. `hash` is that of every
-- account's password; "!" is the hash of none.

begin;

insert into users (id, username, email, password_hash, role, status, full_name, company_name) values
    (1, 'platform_admin', 'admin@platform.example', :'hash', 'admin', 'active', 'Platform Admin', null),
    (2, 'ops_staff', 'ops@platform.example', :'hash', 'staff', 'active', 'Night Shift', null),
    (3, 'seller_alice', 'alice@leads.example', :'hash', 'user', 'active', 'Alice Archer', 'Archer Leads'),
    (4, 'seller_bob', 'bob@calls.example', :'hash', 'user', 'active', 'Bob Baker', 'Baker Calls'),
    (5, 'seller_pending', 'new@calls.example', :'hash', 'user', 'pending_approval', 'Nia New', null);

insert into clients (id, client_identifier, name, department, status, notes, created_by) values
    (1, 'client_alpha_sales', 'Alpha', 'Sales', 'active', null, 1),
    (2, 'client_beta_support', 'Beta', 'Support', 'active', null, 1),
    (3, 'client_gamma_intake', 'Gamma', 'Intake', 'active', 'asks for authentication', 1),
    (4, 'client_delta_partners', 'Delta', 'Partners', 'inactive', null, 1);

insert into pjsip_auths (id, client_id, auth_type, username, password) values
    ('auth_to_gamma', 3, 'userpass', 'capconduit', 'change-me');

insert into pjsip_endpoints (id, client_id, transport, aors, auth, context, disallow, allow,
                             direct_media, outbound_auth) values
    ('client_alpha_sales', 1, null, 'client_alpha_sales', null, 'capconduit-none', 'all', 'ulaw,alaw', 'no', null),
    ('client_beta_support', 2, null, 'client_beta_support', null, 'capconduit-none', 'all', 'ulaw,alaw', 'no', null),
    ('client_gamma_intake', 3, null, 'client_gamma_intake', null, 'capconduit-none', 'all', 'ulaw,alaw', 'no', 'auth_to_gamma'),
    ('client_delta_partners', 4, null, 'client_delta_partners', null, 'capconduit-none', 'all', 'ulaw,alaw', 'no', null);

insert into pjsip_aors (id, client_id, contact, max_contacts, qualify_frequency) values
    ('client_alpha_sales', 1, 'sip:alpha@127.0.0.1:5071', 1, 60),
    ('client_beta_support', 2, 'sip:beta@127.0.0.1:5072', 1, 60),
    ('client_gamma_intake', 3, 'sip:gamma@127.0.0.1:5073', 1, 60),
    ('client_delta_partners', 4, 'sip:delta@127.0.0.1:5074', 1, 60);

insert into dids (id, number, user_id, status, description) values
    (1, '+18005550101', 3, 'active', 'Sales line'),
    (2, '+12125550102', 3, 'active', 'Support line'),
    (3, '+13105550103', 4, 'active', 'Intake line'),
    (4, '+442075550104', 3, 'inactive', 'London, parked');

insert into campaigns (id, user_id, name, status, routing_strategy, dial_timeout_seconds, description) values
    (1, 3, 'Sales US', 'active', 'priority', 25, 'Alpha first, Beta as overflow'),
    (2, 3, 'Support US', 'active', 'round_robin', 35, 'Beta and Gamma in turn'),
    (3, 4, 'Intake', 'active', 'weighted', 20, 'Gamma until its total cap, then Alpha'),
    (4, 4, 'Old intake', 'inactive', 'priority', 30, null);

insert into campaign_dids (campaign_id, did_id) values (1, 1), (2, 2), (3, 3), (4, 3);

insert into campaign_client_settings (id, campaign_id, client_id, status, max_concurrency,
        total_calls_allowed, current_total_calls, forwarding_priority, weight) values
    (1, 1, 1, 'active', 10, 5000, 1, 0, 100),
    (2, 1, 2, 'active', 5, null, 1, 1, 100),
    (3, 2, 2, 'active', 8, 1000, 1, 0, 100),
    (4, 2, 3, 'active', 15, 2000, 0, 0, 100),
    (5, 3, 3, 'active', 20, 1, 1, 0, 70),
    (6, 3, 1, 'active', 5, 2000, 0, 1, 30),
    (7, 3, 4, 'inactive', 2, 100, 0, 2, 100);

insert into call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
        incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_answered,
        timestamp_end, duration_seconds, billsec_seconds, call_status, hangup_cause_code,
        hangup_cause_text, asterisk_uniqueid, asterisk_linkedid, refusal_reason, attempts)
select user_id, campaign_id, did_id, client_id, link_id, number, caller, name, started,
       started + make_interval(secs => rang) where_answered,
       started + make_interval(secs => coalesce(rang + talked, lasted)),
       coalesce(rang + talked, lasted), coalesce(talked, 0), status, cause, cause_text,
       uniqueid, uniqueid, reason, tried
from (values
    (3, 1, 1, 1, 1, '+18005550101', '+14155550001', 'Pat Doe', now() - interval '2 days', 6, 180, null, 'ANSWERED', 16, 'Normal call clearing', 'sample-1.1', null, 1),
    (3, 1, 1, 2, 2, '+18005550101', '+14155550002', null, now() - interval '1 day', 14, 65, null, 'ANSWERED', 16, 'Normal call clearing', 'sample-1.2', null, 2),
    (3, 2, 2, 2, 3, '+12125550102', '+14155550003', 'Sam Roe', now() - interval '5 hours', 4, 240, null, 'ANSWERED', 16, 'Normal call clearing', 'sample-1.3', null, 1),
    (4, 3, 3, 3, 5, '+13105550103', '+14155550004', null, now() - interval '3 hours', 8, 95, null, 'ANSWERED', 16, 'Normal call clearing', 'sample-1.4', null, 1),
    (3, 1, 1, 2, 2, '+18005550101', '+14155550005', null, now() - interval '1 hour', null, null, 25, 'NOANSWER', 19, 'No answer from user', 'sample-1.5', null, 1),
    (4, 3, 3, null, null, '+13105550103', '+14155550006', null, now() - interval '5 minutes', null, null, 0, 'REJECTED_TOTAL', 17, 'User busy', 'sample-1.6', 'no_eligible_clients_available', 0)
) as sample (user_id, campaign_id, did_id, client_id, link_id, number, caller, name, started, rang,
             talked, lasted, status, cause, cause_text, uniqueid, reason, tried);

-- The rows above name their ids; the next ones the database gives out come after them.
select setval(pg_get_serial_sequence(t, 'id'), (xpath('/row/m/text()',
       query_to_xml(format('select max(id) as m from %I', t), true, true, '')))[1]::text::bigint)
from unnest(array['users', 'clients', 'dids', 'campaigns', 'campaign_client_settings']) t;

commit;
