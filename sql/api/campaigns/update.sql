-- Changes a campaign ($2) of a seller ($1): its description to $4 if $3, its announcement to $12 if $11, its
-- retention to $14 if $13, the rest as far as given.
update campaigns
set description = case when $3::boolean then $4::text else description end,
    name = coalesce($5, name), status = coalesce($6, status),
    routing_strategy = coalesce($7, routing_strategy),
    dial_timeout_seconds = coalesce($8::int, dial_timeout_seconds),
    recording_enabled = coalesce($9::boolean, recording_enabled),
    recording_language = coalesce($10::text, recording_language),
    recording_announcement = case when $11::boolean then $12::text else recording_announcement end,
    recording_retention_days = case when $13::boolean then $14::int else recording_retention_days end,
    mask_numbers = coalesce($15::boolean, mask_numbers), updated_at = now()
where user_id = $1 and id = $2
returning id, name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled,
          recording_language, recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
