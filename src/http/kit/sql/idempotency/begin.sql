-- Begins the work of a key ($2: its SHA-256 in hex) of a user ($1) on a request ($3: a hash of it), if there is no
-- such key, or it is $4 seconds old, or the same request has been at work for $5 seconds: its daemon has died.
-- `created_at` then names this attempt.
insert into idempotency_keys as k (user_id, idempotency_key, request_hash) values ($1, $2, $3)
on conflict (user_id, idempotency_key) do update
set request_hash = excluded.request_hash, status = null, headers = null, body = null,
    created_at = clock_timestamp()
where k.created_at <= now() - make_interval(secs => $4::float8)
   or (k.status is null and k.request_hash = excluded.request_hash
       and k.created_at <= now() - make_interval(secs => $5::float8))
returning k.created_at
