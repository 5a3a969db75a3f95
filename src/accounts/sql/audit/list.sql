-- The audit log in the order $10, after the entry at which the page before ended ($1) or from the beginning; $2 rows.
-- Filters, each of which may be null: tenant ($3), actor's name ($4), type ($5) and id ($6) of the thing, action ($7),
-- from a moment ($8) to before another ($9), a text ($11) in the name of the actor, in the id, in the reason or in what
-- was there before or after. Unless $12, what is in accounts is not looked at: who may not read it must not find it.
select audit_id, at, actor_id, actor, via, user_id, action, object_type, object_id, before, after, reason,
       request_id, address
from audit_log
where ($1::bigint is null or $10::text = '-at' and audit_id < $1 or $10 = 'at' and audit_id > $1)
  and ($3::int is null or user_id = $3)
  and ($4::text is null or actor = $4)
  and ($5::text is null or object_type = $5)
  and ($6::text is null or object_id = $6)
  and ($7::text is null or action = $7)
  and ($8::timestamptz is null or at >= $8)
  and ($9::timestamptz is null or at < $9)
  and ($11::text is null
       or position(lower($11) in lower(actor)) > 0
       or position(lower($11) in lower(object_id)) > 0
       or position(lower($11) in lower(reason)) > 0
       or ($12::boolean or object_type <> 'user')
          and (position(lower($11) in lower(before::text)) > 0 or position(lower($11) in lower(after::text)) > 0))
order by case when $10 = '-at' then audit_id end desc, case when $10 = 'at' then audit_id end
limit $2
