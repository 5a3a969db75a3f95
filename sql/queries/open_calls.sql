-- Calls under way on a server ($1), or on none that is known.
select c.call_id, c.asterisk_uniqueid, c.server_name, c.started_at,
       a.attempt as held_attempt, a.endpoint_id as held_endpoint
from calls c
left join reservations r on r.call_id = c.call_id and r.state = 'held'
left join call_attempts_recent a on a.call_id = r.call_id and a.attempt = r.attempt
where c.uniqueid_under_way is not null and c.ended_at is null
  and (c.server_name = $1 or c.server_name is null)
