-- Security events in the order $12, after the one at which the page before ended ($1) or from the beginning; $2 rows.
-- Filters, each of which may be null: seller concerned ($3), who did it ($4), its name ($5), event ($6), from a moment
-- ($7) to before another ($8), address ($9), a text ($13) in names, ids and details, and, where they are shown, in address
-- and program.
-- With $10 only of sellers, of strangers and of this account itself. With $11 only what this account did, or what
-- concerns it.
select event_id, at, event, actor_id, actor, via, user_id, object_type, object_id, detail, request_id, address, user_agent
from security_events
where ($1::bigint is null or $12::text = '-at' and event_id < $1 or $12 = 'at' and event_id > $1)
  and ($3::int is null or user_id = $3)
  and ($4::int is null or actor_id = $4)
  and ($5::text is null or actor = $5)
  and ($6::text is null or event = $6)
  and ($7::timestamptz is null or at >= $7)
  and ($8::timestamptz is null or at < $8)
  and ($9::text is null or address = $9)
  and ($10::int is null or actor_role is null or actor_role = 'user' or actor_id = $10)
  and ($11::int is null or actor_id = $11 or user_id = $11)
  and ($13::text is null
       or position(lower($13) in lower(actor)) > 0
       or position(lower($13) in lower(object_id)) > 0
       or position(lower($13) in lower(detail::text)) > 0
       or ($11 is null or actor_id = $11)
          and (position(lower($13) in lower(address)) > 0 or position(lower($13) in lower(user_agent)) > 0))
order by case when $12 = '-at' then event_id end desc, case when $12 = 'at' then event_id end
limit $2
