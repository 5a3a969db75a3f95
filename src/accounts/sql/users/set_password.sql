-- Gives an account ($1) another password hash ($2). $3: the password must be changed at the next log-in.
update users set password_hash = $2, must_change_password = $3, updated_at = now() where id = $1 returning id
