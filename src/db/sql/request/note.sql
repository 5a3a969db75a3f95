-- Notes a change.
insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, before, after, reason,
                       request_id, address)
values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9::jsonb, $10::text, $11::text, $12::text)
