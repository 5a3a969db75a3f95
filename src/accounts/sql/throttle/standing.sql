-- How a login stands: of an account's name ($2) from a browser with a device token ($1: its SHA-256, or null), by the
-- subjects device ($3), account and network together ($4), network ($5) and account ($6). Waits are in seconds; 0 where
-- there is none. Failures of the account within $7 seconds.
select exists (select from login_devices d join users u on u.id = d.user_id
               where d.token_hash = $1::bytea and u.username = $2) as known,
       coalesce(max(wait) filter (where subject = $3::text), 0)::float8 as device_wait,
       coalesce(max(wait) filter (where subject = $4::text), 0)::float8 as pair_wait,
       coalesce(max(wait) filter (where subject = $5::text), 0)::float8 as network_wait,
       coalesce(max(failures) filter (where subject = $6::text
                                        and last_at > now() - make_interval(secs => $7::float8)), 0) as failures
from (select subject, failures, last_at, greatest(extract(epoch from locked_until - now()), 0) as wait
      from login_failures where subject in ($3::text, $4::text, $5::text, $6::text)) f
