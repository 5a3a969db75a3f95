-- Clears up to $3 references of call records to a deleted row: column $1, id $2.
select clear_call_log_references($1, $2, $3) as cleared
