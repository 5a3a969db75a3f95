-- Corrects what was inferred of attempt $2 of a call ($1) that is closed: whether it was answered ($3), its outcome ($4),
-- dial status ($5) and cause ($6), and when it was answered ($7). One that was answered after all consumes a unit of the
-- total cap, one that was not gives it back. Where its slot still waits for the target's channel, it waits on as what it
-- is now.
with prior as materialized (
    select attempt, link_id, confirmed_at is not null as was_answered, ended_at is null as is_open
    from reservations
    where call_id = $1 and attempt = $2
    for update
), r as (
    update reservations v
    set confirmed_at = case when $3::boolean then coalesce(v.confirmed_at, $7::timestamptz) end,
        confirmed_by = case when $3 then coalesce(v.confirmed_by, 'report') end,
        state = case when not p.is_open then v.state when $3 then 'confirmed' else 'held' end
    from prior p where v.call_id = $1 and v.attempt = p.attempt
    returning v.attempt, v.link_id, p.was_answered, p.is_open
), counted as (
    update campaign_client_settings s
    set current_total_calls = greatest(0, s.current_total_calls + $3::int - r.was_answered::int)
    from r where s.id = r.link_id and $3 <> r.was_answered
    returning s.id
), usage as (
    update link_usage u
    set held = u.held + r.was_answered::int - $3::int, confirmed = u.confirmed + $3::int - r.was_answered::int
    from r where u.link_id = r.link_id and r.is_open and $3 <> r.was_answered and (select count(*) from counted) >= 0
)
update call_attempts_recent a
set outcome = $4, dial_status = $5::text, hangup_cause_code = $6::int,
    answered_at = case when $3 then coalesce(a.answered_at, $7) end
where a.call_id = $1 and a.attempt = $2
returning a.attempt
