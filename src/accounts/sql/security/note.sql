-- Notes security events ($1: a JSON array of them). One about a call concerns the seller whose call was recorded.
insert into security_events (at, event, actor_id, actor, actor_role, via, user_id, object_type, object_id, detail,
                             request_id, address, user_agent)
select e.at, e.event, e.actor_id, e.actor, e.actor_role, e.via,
       coalesce(e.user_id, case when e.object_type = 'call' then
           (select r.user_id from recordings r where r.call_id = e.object_id::bigint limit 1) end),
       e.object_type, e.object_id, e.detail, e.request_id, e.address, e.user_agent
from jsonb_to_recordset($1::jsonb) as e (
    at timestamptz, event text, actor_id int, actor text, actor_role text, via text, user_id int, object_type text,
    object_id text, detail jsonb, request_id text, address text, user_agent text)
