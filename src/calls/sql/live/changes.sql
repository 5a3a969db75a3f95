-- Changes of the catalogue since a moment ($1), but for those known ($2), in their order.
select audit_id, at, actor, user_id, action, object_type, object_id
from audit_log
where at >= $1 and audit_id <> all ($2::bigint[]) and object_type in ('client', 'user', 'did', 'campaign', 'link')
order by audit_id
limit 1000
