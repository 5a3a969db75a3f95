-- Removes the second factor of an account ($1). No row if it has none.
delete from totp_secrets where user_id = $1 returning user_id
