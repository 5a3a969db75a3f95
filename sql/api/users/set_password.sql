-- Gives an account ($1) another password hash ($2).
update users set password_hash = $2, updated_at = now() where id = $1 returning id
