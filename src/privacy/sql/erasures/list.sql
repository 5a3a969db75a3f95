-- Requests in the order $4: $3 of those after $1, of a state ($2), with a text ($5) in pseudonym, reason or error.
select erasure_id, kind, account_id, pseudonym, dry_run, reason, requested_by, created_at, state, started_at, finished_at,
       error, pass, counts, waits_for, recordings_deleted, recordings_left, recordings_held,
       case when look_at is not null then watched_until end as watched_until
from erasures
where ($1::bigint is null or $4::text = '-createdAt' and erasure_id < $1 or $4 = 'createdAt' and erasure_id > $1)
  and ($2::text is null or state = $2)
  and ($5::text is null
       or position(lower($5) in lower(pseudonym)) > 0
       or position(lower($5) in lower(reason)) > 0
       or position(lower($5) in lower(error)) > 0)
order by case when $4 = '-createdAt' then erasure_id end desc, case when $4 = 'createdAt' then erasure_id end
limit $3
