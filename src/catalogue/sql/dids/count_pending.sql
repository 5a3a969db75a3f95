-- How many DIDs of a seller ($1) wait to be confirmed.
select count(*) as total from dids where user_id = $1 and status = 'pending'
