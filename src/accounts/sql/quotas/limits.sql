-- What staff set as most for a user ($1).
select kind, most from account_limits where user_id = $1
