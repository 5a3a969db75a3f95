-- The second factor of an account ($1) holds from now on. No row if it did before.
update totp_secrets set confirmed_at = now() where user_id = $1 and confirmed_at is null returning user_id
