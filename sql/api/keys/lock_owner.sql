-- Locks an account ($1), so that its keys are counted and added one at a time.
select id from users where id = $1 for no key update
