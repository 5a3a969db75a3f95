-- Notes that a network ($1) failed to log in to an account ($2).
insert into login_tries (network, account) values ($1, $2)
on conflict (network, account) do update set last_at = now()
