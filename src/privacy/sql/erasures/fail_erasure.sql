-- Erasure $1, of daemon $2 in attempt $3, met an error ($4) and is tried again in $5 seconds.
update erasures
set state = 'queued', error = $4, node_name = null, lease_expires_at = null,
    not_before = now() + make_interval(secs => $5)
where erasure_id = $1 and node_name = $2 and attempts = $3 and state = 'running'
returning erasure_id
