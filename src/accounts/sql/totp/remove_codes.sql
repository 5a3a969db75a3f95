-- Removes the recovery codes of an account ($1).
delete from recovery_codes where user_id = $1 returning user_id
