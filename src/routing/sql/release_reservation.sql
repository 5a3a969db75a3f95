-- Gives back the slot of an attempt ($1 its call, $2) that is over and waited for the target's channel; $3 released or
-- expired.
with r as (
    update reservations set state = $3, ended_at = clock_timestamp()
    where call_id = $1 and attempt = $2 and ended_at is null and attempt_ended_at is not null
    returning link_id, confirmed_at is not null as was_confirmed
), usage as (
    update link_usage u
    set held = u.held - (not r.was_confirmed)::int, confirmed = u.confirmed - r.was_confirmed::int
    from r where u.link_id = r.link_id
)
select link_id from r
