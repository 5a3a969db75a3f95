-- Requests, newest first: $3 of those before $1, of a state ($2).
select erasure_id, kind, account_id, pseudonym, dry_run, reason, requested_by, created_at, state, started_at, finished_at,
       error, pass, counts, waits_for, recordings_deleted, recordings_left, recordings_held,
       case when look_at is not null then watched_until end as watched_until
from erasures
where ($1::bigint is null or erasure_id < $1) and ($2::text is null or state = $2)
order by erasure_id desc
limit $3
