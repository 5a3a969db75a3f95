-- Notes changes of the same kind to several things ($7), one after another, with what they are now ($8).
insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, after, request_id, address)
select $1::int, $2::text, $3::text, $4::int, $5::text, $6::text, thing.id, thing.after, $9::text, $10::text
from unnest($7::text[], $8::jsonb[]) with ordinality as thing (id, after, place)
order by thing.place
