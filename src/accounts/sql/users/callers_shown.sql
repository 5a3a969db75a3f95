-- Whether an account ($1) sees callers' numbers and names.
select callers_shown from users where id = $1
