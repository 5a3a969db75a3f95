-- Gives an account ($1) another password hash ($2), if it still has the one that was checked ($3). $4: whether
-- that is a change of the account, or only of how its password is kept.
update users
set password_hash = $2, updated_at = case when $4::boolean then now() else updated_at end,
    must_change_password = must_change_password and not $4::boolean
where id = $1 and password_hash = $3 returning id
