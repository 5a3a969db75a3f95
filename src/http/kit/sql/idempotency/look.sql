-- What is kept for a key ($2: its SHA-256 in hex) of a user ($1), and whether it is of this request ($3).
select request_hash = $3 as same, status, headers, body
from idempotency_keys where user_id = $1 and idempotency_key = $2
