-- Security events, newest first, before one ($1) or from the newest; $2 rows. Filters, each of which may be null: seller
-- concerned ($3), who did it ($4), its name ($5), event ($6), from a moment ($7) to before another ($8), address ($9).
-- With $10 only of sellers, of strangers and of this account itself. With $11 only what this account did, or what
-- concerns it.
select event_id, at, event, actor_id, actor, via, user_id, object_type, object_id, detail, request_id, address, user_agent
from security_events
where ($1::bigint is null or event_id < $1)
  and ($3::int is null or user_id = $3)
  and ($4::int is null or actor_id = $4)
  and ($5::text is null or actor = $5)
  and ($6::text is null or event = $6)
  and ($7::timestamptz is null or at >= $7)
  and ($8::timestamptz is null or at < $8)
  and ($9::text is null or address = $9)
  and ($10::int is null or actor_role is null or actor_role = 'user' or actor_id = $10)
  and ($11::int is null or actor_id = $11 or user_id = $11)
order by event_id desc
limit $2
