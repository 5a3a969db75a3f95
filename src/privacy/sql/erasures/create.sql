-- A request: $1 kind, $2 account, $3 what stands for the number or name, $4 whether it is a dry run, $5 why, $6 who asks.
insert into erasures (kind, account_id, pseudonym, dry_run, reason, requested_by)
values ($1, $2::int, $3, $4, $5, $6::int)
returning erasure_id, kind, account_id, pseudonym, dry_run, reason, requested_by, created_at, state, started_at, finished_at,
       error, pass, counts, waits_for, recordings_deleted, recordings_left, recordings_held,
       case when look_at is not null then watched_until end as watched_until
