-- How many campaigns a seller ($1) has, of one status ($2) or all.
select count(*) as total from campaigns where user_id = $1 and ($2::text is null or status = $2)
