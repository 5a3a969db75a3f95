-- Closes the open attempt $2 of a call ($1). When it was answered ($3) and not confirmed before, it consumes one unit of
-- the total cap; when it was confirmed and was not answered after all, it gives that unit back.
--
-- Its slot is given back, unless the target's channel is still there ($10): then the reservation stays open until
-- that channel ($12 on server $11) is seen to go, see release_reservation.
-- $4 released or expired, $5 when the attempt ended, $6 outcome, $7 dial status, $8 cause, $9 when answered.
with prior as materialized (
    select attempt, link_id, state = 'confirmed' as was_confirmed
    from reservations
    where call_id = $1 and attempt = $2 and ended_at is null and attempt_ended_at is null
    for update
), r as (
    update reservations v
    set state = case when not $10::boolean then $4 when $3::boolean then 'confirmed' when p.was_confirmed then 'held'
                     else v.state end,
        confirmed_at = case when $3 then coalesce(v.confirmed_at, $9::timestamptz) when $10 then null
                            else v.confirmed_at end,
        confirmed_by = case when $3 then coalesce(v.confirmed_by, 'report') end,
        ended_at = case when not $10 then clock_timestamp() end,
        attempt_ended_at = clock_timestamp(),
        server_name = $11::text, leg_uniqueid = $12::text
    from prior p where v.call_id = $1 and v.attempt = p.attempt
    returning v.link_id, v.attempt, p.was_confirmed
), counted as (
    update campaign_client_settings s
    set current_total_calls = greatest(0, s.current_total_calls + $3::int - r.was_confirmed::int)
    from r where s.id = r.link_id and $3 <> r.was_confirmed
    returning s.id
), usage as (
    update link_usage u
    set held = u.held - (not r.was_confirmed)::int + ($10 and not $3)::int,
        confirmed = u.confirmed - r.was_confirmed::int + ($10 and $3)::int
    from r where u.link_id = r.link_id and (select count(*) from counted) >= 0
), attempt as (
    update call_attempts_recent a
    set ended_at = $5, outcome = $6, dial_status = $7, hangup_cause_code = $8,
        answered_at = case when $3 then coalesce(a.answered_at, $9) end
    from r where a.call_id = $1 and a.attempt = r.attempt
)
select attempt from r
