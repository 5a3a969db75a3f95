-- Changes a campaign ($1) that was locked: its description to $3 if $2, its announcement to $11 if $10, its
-- retention to $13 if $12, the rest as far as given.
update campaigns
set description = case when $2::boolean then $3::text else description end,
    name = coalesce($4, name), status = coalesce($5, status),
    routing_strategy = coalesce($6, routing_strategy),
    dial_timeout_seconds = coalesce($7::int, dial_timeout_seconds),
    recording_enabled = coalesce($8::boolean, recording_enabled),
    recording_language = coalesce($9::text, recording_language),
    recording_announcement = case when $10::boolean then $11::text else recording_announcement end,
    recording_retention_days = case when $12::boolean then $13::int else recording_retention_days end,
    mask_numbers = coalesce($14::boolean, mask_numbers), updated_at = now()
where id = $1
returning id, user_id, (select username from users u where u.id = user_id) as username,
          name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled,
          recording_language, recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
