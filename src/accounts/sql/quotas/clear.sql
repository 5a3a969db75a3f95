-- Of a kind ($2) the configuration's limit counts again for a user ($1).
delete from account_limits where user_id = $1 and kind = $2
