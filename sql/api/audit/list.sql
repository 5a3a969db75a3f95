-- The audit log, newest first, before an entry ($1) or from the newest; $2 rows. Filters, each of which may be
-- null: tenant ($3), actor's name ($4), type ($5) and id ($6) of the thing, action ($7), from a moment ($8) to
-- before another ($9).
select audit_id, at, actor_id, actor, via, user_id, action, object_type, object_id, before, after, reason,
       request_id, address
from audit_log
where ($1::bigint is null or audit_id < $1)
  and ($3::int is null or user_id = $3)
  and ($4::text is null or actor = $4)
  and ($5::text is null or object_type = $5)
  and ($6::text is null or object_id = $6)
  and ($7::text is null or action = $7)
  and ($8::timestamptz is null or at >= $8)
  and ($9::timestamptz is null or at < $9)
order by audit_id desc
limit $2
