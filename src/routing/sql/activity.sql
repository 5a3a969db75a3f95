-- Calls and reservations under way, for the gauges.
select (select count(*) from calls where uniqueid_under_way is not null and ended_at is null and refused_at is null) as calls,
       count(*) filter (where state = 'held') as held,
       count(*) filter (where state = 'confirmed') as confirmed
from reservations where ended_at is null
