-- Changes a campaign ($2) of a seller ($1): its description to $4 if $3, the rest as far as given.
update campaigns
set description = case when $3::boolean then $4::text else description end,
    name = coalesce($5, name), status = coalesce($6, status),
    routing_strategy = coalesce($7, routing_strategy),
    dial_timeout_seconds = coalesce($8::int, dial_timeout_seconds), updated_at = now()
where user_id = $1 and id = $2
returning id, name, status, routing_strategy, dial_timeout_seconds, description, created_at, updated_at
