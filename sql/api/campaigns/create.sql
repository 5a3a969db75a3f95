-- A new campaign of a seller ($1).
insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, description)
values ($1, $2, $3, $4, $5, $6)
returning id, name, status, routing_strategy, dial_timeout_seconds, description, created_at, updated_at
