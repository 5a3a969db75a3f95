-- Forgets browsers that did not log in for $1 seconds.
delete from login_devices where last_seen_at < now() - make_interval(secs => $1::float8)
