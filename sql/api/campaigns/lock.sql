-- A campaign ($2) of a seller ($1), to be changed, with its ties and links. Calls do not wait for this lock.
select id, name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled, recording_language,
       recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
from campaigns
where user_id = $1 and id = $2
for no key update
