-- Closes the open reservation of a call ($1), if it has one: gives the slot back and, when the attempt
-- was answered ($2) and not confirmed before, consumes one unit of the total cap.
-- $3 released or expired, $4 when the attempt ended, $5 outcome, $6 dial status, $7 cause, $8 when answered.
with r as (
    update reservations set state = $3, ended_at = clock_timestamp()
    where call_id = $1 and ended_at is null
    returning link_id, attempt, confirmed_at is not null as was_confirmed
), consumed as (
    update campaign_client_settings s set current_total_calls = s.current_total_calls + 1
    from r where s.id = r.link_id and $2 and not r.was_confirmed
    returning s.id
), usage as (
    update link_usage u
    set held = u.held - (not r.was_confirmed)::int, confirmed = u.confirmed - r.was_confirmed::int
    from r where u.link_id = r.link_id and (select count(*) from consumed) >= 0
), attempt as (
    update call_attempts a
    set ended_at = $4, outcome = $5, dial_status = $6, hangup_cause_code = $7,
        answered_at = coalesce(a.answered_at, $8)
    from r where a.call_id = $1 and a.attempt = r.attempt
)
select attempt from r
