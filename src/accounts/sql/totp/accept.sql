-- Takes the code of a step ($2) for an account ($1), once: no row if that step, or a later one, was used before.
update totp_secrets set last_step = $2, failures = 0, last_failed_at = null, locked_until = null
where user_id = $1 and last_step < $2
returning user_id
