-- A campaign ($2) of a seller ($1), or whoever's it is, to be changed, with its ties and links. Calls do not wait for this lock.
select id, user_id, (select username from users u where u.id = user_id) as username,
       name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled, recording_language,
       recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
from campaigns
where ($1::int is null or user_id = $1) and id = $2
for no key update
