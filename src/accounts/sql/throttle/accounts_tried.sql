-- At how many accounts a network ($1) failed within $2 seconds.
select count(*) as accounts from login_tries
where network = $1 and last_at > now() - make_interval(secs => $2::float8)
