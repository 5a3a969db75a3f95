-- A held reservation of a call ($1, attempt $2) becomes confirmed at its answer ($3), of which $4 told, and consumes one
-- unit of the total cap. The call is on the server ($5) where its target answered. Row order: call (locked before),
-- reservation, link, usage, as everywhere.
with r as (
    update reservations set state = 'confirmed', confirmed_at = $3, confirmed_by = $4
    where call_id = $1 and attempt = $2 and state = 'held' and attempt_ended_at is null
    returning link_id
), consumed as (
    update campaign_client_settings s set current_total_calls = s.current_total_calls + 1
    from r where s.id = r.link_id
    returning s.id
), usage as (
    update link_usage u set held = u.held - 1, confirmed = u.confirmed + 1
    from r where u.link_id = r.link_id and (select count(*) from consumed) >= 0
), attempt as (
    update call_attempts_recent set answered_at = $3
    where call_id = $1 and attempt = $2 and exists (select from r)
), adopted as (
    update calls set server_name = $5::text, seen_by = $6, channel_created_at = $7::timestamptz
    where call_id = $1 and server_name is null and $5::text is not null
)
select link_id from r
