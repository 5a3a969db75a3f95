-- A new campaign of a seller ($1).
insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, description,
                       recording_enabled, recording_language, recording_announcement, recording_retention_days,
                       mask_numbers)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
returning id, user_id, (select username from users u where u.id = user_id) as username,
          name, status, routing_strategy, dial_timeout_seconds, description, recording_enabled,
          recording_language, recording_announcement, recording_retention_days, mask_numbers, created_at, updated_at
