-- Campaigns of a seller ($1), of one status ($2), strategy ($3), with a DID ($4) or a client ($5), with a text ($6) in name or
-- description; each may be null. In this order ($7); rows $8, beginning after $9.
select id, user_id, (select username from users u where u.id = user_id) as username, name, status, routing_strategy,
       dial_timeout_seconds, description, recording_enabled, recording_language, recording_announcement,
       recording_retention_days, mask_numbers, created_at, updated_at
from campaigns
where ($1::int is null or user_id = $1) and ($2::text is null or status = $2)
  and ($3::text is null or routing_strategy = $3)
  and ($4::int is null or id in (select campaign_id from campaign_dids where did_id = $4))
  and ($5::int is null or id in (select campaign_id from campaign_client_settings where client_id = $5))
  and ($6::text is null or position(lower($6) in lower(name)) > 0 or position(lower($6) in lower(description)) > 0)
order by case when $7::text = 'name' then name end, case when $7 = '-name' then name end desc,
         case when $7 = 'createdAt' then created_at end, case when $7 = '-createdAt' then created_at end desc,
         case when $7 = 'updatedAt' then updated_at end, case when $7 = '-updatedAt' then updated_at end desc,
         id
limit $8 offset $9
