-- Changes a link ($1): its total cap to $3 if $2, the rest as far as given. Its calls are counted by others.
update campaign_client_settings
set total_calls_allowed = case when $2::boolean then $3::int else total_calls_allowed end,
    status = coalesce($4, status), max_concurrency = coalesce($5::int, max_concurrency),
    forwarding_priority = coalesce($6::int, forwarding_priority), weight = coalesce($7::int, weight),
    updated_at = now()
where id = $1
