-- Keeps the same secret of an account ($1) sealed anew ($3), if it is still the one that was opened ($2).
update totp_secrets set sealed = $3 where user_id = $1 and sealed = $2 returning user_id
