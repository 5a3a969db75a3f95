-- Whom a call ($2) was offered to, in their order, if it is of the seller $1 (null: of anybody).
select attempt, client_id, endpoint_id, offered_at, answered_at, ended_at, outcome, dial_status,
       hangup_cause_code
from call_attempts
where call_id = $2 and ($1::int is null or user_id = $1)
order by attempt
