-- How many calls a seller ($1) has from a time ($2) and before another ($3), counted up to $4.
select count(*) as total
from (select from call_logs where user_id = $1 and timestamp_start >= $2 and timestamp_start < $3 limit $4) counted
