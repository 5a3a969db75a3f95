-- A request ($1).
select erasure_id, kind, account_id, pseudonym, dry_run, reason, requested_by, created_at, state, started_at, finished_at,
       error, pass, counts, waits_for, recordings_deleted, recordings_left, recordings_held,
       case when look_at is not null then watched_until end as watched_until
from erasures where erasure_id = $1
