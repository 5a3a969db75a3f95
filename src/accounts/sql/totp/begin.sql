-- A secret ($2, sealed) for the second factor of an account ($1), to be confirmed. One that is confirmed stays: no row.
insert into totp_secrets as t (user_id, sealed)
values ($1, $2)
on conflict (user_id) do update
    set sealed = excluded.sealed, created_at = now(), last_step = 0, failures = 0, last_failed_at = null,
        locked_until = null
    where t.confirmed_at is null
returning user_id
