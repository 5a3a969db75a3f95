-- A campaign ($2) of a seller ($1).
select id, name, status, routing_strategy, dial_timeout_seconds, description, created_at, updated_at
from campaigns
where user_id = $1 and id = $2
