-- Locks an account ($1), so that its keys are counted and added one at a time.
select lock_account($1::int)
