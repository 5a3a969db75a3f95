-- Takes back the open reservations of a call ($1) that is not under way.
with r as (
    update reservations set state = 'expired', ended_at = clock_timestamp()
    where call_id = $1 and ended_at is null
    returning link_id, confirmed_at is not null as was_confirmed
), sums as (
    select link_id, count(*) filter (where not was_confirmed)::int as held,
           count(*) filter (where was_confirmed)::int as confirmed
    from r group by link_id
), usage as (
    update link_usage u set held = u.held - s.held, confirmed = u.confirmed - s.confirmed
    from sums s where u.link_id = s.link_id
)
select link_id from r
