-- What scripts/bench routes: 20 campaigns of one owner with one number each (18005550100 to …119) and
-- five links each, to 100 clients, with caps that no benchmark reaches. The three strategies in turn.
insert into users (username, email, password_hash, role, status)
values ('bench', 'bench@example.invalid', '!', 'user', 'active');

insert into clients (client_identifier, name, status)
select 'bench-' || n, 'Bench ' || n, 'active'
from generate_series(1, 100) as n;

insert into pjsip_endpoints (id, client_id, aors, context)
select client_identifier, id, client_identifier, 'capconduit-none' from clients;

insert into pjsip_aors (id, client_id, contact)
select client_identifier, id, 'sip:' || client_identifier || '@192.0.2.1:5060' from clients;

insert into dids (number, user_id, status)
select '+180055501' || lpad(n::text, 2, '0'), users.id, 'active'
from generate_series(0, 19) as n cross join users;

insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
select user_id, number, 'active',
    (array['priority', 'round_robin', 'weighted'])[1 + dids.id % 3], 30
from dids;

insert into campaign_dids (campaign_id, did_id)
select campaigns.id, dids.id from campaigns join dids on dids.number = campaigns.name;

-- Campaign k links to the clients 5k+1 to 5k+5.
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
    forwarding_priority, weight)
select ranked.id, clients.id, 'active', 1000000, 0, 1 + clients.id % 5
from (select id, row_number() over (order by id) - 1 as k from campaigns) as ranked
join (select id, row_number() over (order by id) - 1 as k from clients) as clients
    on clients.k / 5 = ranked.k;
