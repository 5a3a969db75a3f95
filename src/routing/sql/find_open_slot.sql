-- The open slot with this id ($1): its call, and whether its attempt is over.
select call_id, attempt, attempt_ended_at is not null as waits
from reservations
where reservation_id = $1 and ended_at is null
