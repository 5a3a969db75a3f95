-- Links whose counters differ from the count of their open reservations, in one snapshot. Always empty.
select u.link_id, u.held, u.confirmed,
       coalesce(r.held, 0)::int as open_held, coalesce(r.confirmed, 0)::int as open_confirmed
from link_usage u
left join (
    select link_id, count(*) filter (where state = 'held') as held,
           count(*) filter (where state = 'confirmed') as confirmed
    from reservations where ended_at is null group by link_id) r on r.link_id = u.link_id
where u.held <> coalesce(r.held, 0) or u.confirmed <> coalesce(r.confirmed, 0)
