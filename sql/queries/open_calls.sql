-- Calls under way on a server ($1), or on none that is known.
select c.call_id, c.asterisk_uniqueid, c.server_name, c.started_at,
       r.attempt as held_attempt
from calls c
left join reservations r on r.call_id = c.call_id and r.state = 'held'
where c.ended_at is null and (c.server_name = $1 or c.server_name is null)
