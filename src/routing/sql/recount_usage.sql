-- Sets a link's counters ($1) to the count of its open reservations. Only after lock_usage.
update link_usage u
set held = r.held, confirmed = r.confirmed
from (select count(*) filter (where state = 'held')::int as held,
             count(*) filter (where state = 'confirmed')::int as confirmed
      from reservations where ended_at is null and link_id = $1) r
where u.link_id = $1
