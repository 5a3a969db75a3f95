-- The world of scripts/demo: two sellers, five campaigns, eight call centres of which three never answer and one
-- talks. For an empty database only. The variables are the SIP ports of the call centres. Nobody can log in.

begin;

insert into users (id, username, email, password_hash, role, status, full_name, company_name) values
    (1, 'archer', 'alice@archer.example', '!', 'user', 'active', 'Alice Archer', 'Archer Leads'),
    (2, 'baker', 'bob@baker.example', '!', 'user', 'active', 'Bob Baker', 'Baker Calls');

-- The notes say what the call centre does; scripts/demo shows them.
insert into clients (id, client_identifier, name, status, notes) values
    (1, 'alpha', 'Alpha Sales', 'active', 'answers after 0.2 s'),
    (2, 'beta', 'Beta Contact', 'active', 'answers after 0.5 s'),
    (3, 'gamma', 'Gamma Intake', 'active', 'answers after 0.3 s'),
    (4, 'delta', 'Delta Desk', 'active', 'answers after 0.8 s'),
    (5, 'busyline', 'Busy Line Inc', 'active', 'always busy (SIP 486)'),
    (6, 'noreply', 'No Reply Ltd', 'active', 'rings, never answers'),
    (7, 'decline', 'Decline & Sons', 'active', 'refuses every call (SIP 603)'),
    (8, 'echo', 'Echo Voice', 'active', 'answers at once and talks');

insert into pjsip_endpoints (id, client_id, aors, context, disallow, allow, direct_media)
select client_identifier, id, client_identifier, 'capconduit-none', 'all', 'ulaw,alaw', 'no' from clients;

insert into pjsip_aors (id, client_id, contact, max_contacts)
select client_identifier, id, 'sip:' || client_identifier || '@127.0.0.1:' || port, 1
from clients
join (values (1, :alpha_port), (2, :beta_port), (3, :gamma_port), (4, :delta_port), (5, :busyline_port),
             (6, :noreply_port), (7, :decline_port), (8, :voice_port)) as listening (client_id, port) on client_id = id;

insert into dids (id, number, user_id, status, description) values
    (1, '+18005550101', 1, 'active', 'Solar, radio spot'),
    (2, '+12125550102', 1, 'active', 'Roofing, web site'),
    (3, '+13105550103', 2, 'active', 'Legal, TV spot'),
    (4, '+14155550104', 2, 'active', 'Plumbing, flyer'),
    (5, '+442075550105', 2, 'inactive', 'London, switched off'),
    (6, '+16175550106', 2, 'active', 'Insurance, print');

insert into campaigns (id, user_id, name, status, routing_strategy, dial_timeout_seconds) values
    (1, 1, 'Solar', 'active', 'priority', 5),
    (2, 1, 'Roofing', 'active', 'round_robin', 5),
    (3, 2, 'Legal', 'active', 'weighted', 5),
    (4, 2, 'Plumbing', 'active', 'priority', 2),
    (5, 2, 'Insurance', 'active', 'priority', 5);

-- Both sides are recorded; each utterance may be in another language.
update campaigns set recording_enabled = true, recording_language = 'auto' where id = 5;

insert into campaign_dids (campaign_id, did_id) values (1, 1), (2, 2), (3, 3), (4, 4), (4, 5), (5, 6);

insert into campaign_client_settings (id, campaign_id, client_id, status, max_concurrency,
        total_calls_allowed, forwarding_priority, weight) values
    (1, 1, 1, 'active', 2, null, 0, 100),
    (2, 1, 2, 'active', 3, 5, 1, 100),
    (3, 2, 2, 'active', 2, null, 0, 100),
    (4, 2, 3, 'active', 2, null, 0, 100),
    (5, 2, 4, 'active', 2, null, 0, 100),
    (6, 3, 3, 'active', 12, null, 0, 70),
    (7, 3, 4, 'active', 6, null, 0, 20),
    (8, 3, 1, 'active', 6, null, 0, 10),
    (9, 4, 5, 'active', 4, null, 0, 100),
    (10, 4, 6, 'active', 1, null, 1, 100),
    (11, 4, 7, 'active', 4, null, 2, 100),
    (12, 4, 4, 'active', 4, 3, 3, 100),
    (13, 5, 8, 'active', 4, null, 0, 100);

-- The rows above name their ids; the next ones the database gives out come after them.
select setval(pg_get_serial_sequence(t, 'id'), 100)
from unnest(array['users', 'clients', 'dids', 'campaigns', 'campaign_client_settings']) t;

commit;
