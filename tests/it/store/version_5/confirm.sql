-- A held reservation of a call ($1, attempt $2) becomes confirmed at its answer ($3) and consumes one
-- unit of the total cap. Row order: reservation, link, usage, as everywhere.
with r as (
    update reservations set state = 'confirmed', confirmed_at = $3
    where call_id = $1 and attempt = $2 and state = 'held'
    returning link_id
), consumed as (
    update campaign_client_settings s set current_total_calls = s.current_total_calls + 1
    from r where s.id = r.link_id
    returning s.id
), usage as (
    update link_usage u set held = u.held - 1, confirmed = u.confirmed + 1
    from r where u.link_id = r.link_id and (select count(*) from consumed) >= 0
), attempt as (
    update call_attempts set answered_at = $3
    where call_id = $1 and attempt = $2 and exists (select from r)
)
select link_id from r
