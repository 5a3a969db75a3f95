-- Campaigns of a seller ($1), of one status ($2) or all, by name; rows $3, beginning after $4.
select id, name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled, recording_language,
       recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
from campaigns
where user_id = $1 and ($2::text is null or status = $2)
order by name, id
limit $3 offset $4
