-- Moves attempts of forgotten calls to the history, at most $1.
select archive_call_attempts($1) as archived
