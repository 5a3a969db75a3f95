-- A client ($1) and its PJSIP objects, to be changed. Who links it meanwhile need not wait.
with client as materialized (
    select id from clients where id = $1 for no key update
), endpoint as materialized (
    select client_id from pjsip_endpoints where client_id = (select id from client) for update
), aor as materialized (
    select client_id from pjsip_aors where client_id = (select id from client) for update
), auth as materialized (
    select client_id from pjsip_auths where client_id = (select id from client) for update
)
select client.id,
       (select count(*) from endpoint) + (select count(*) from aor) + (select count(*) from auth) as objects
from client
