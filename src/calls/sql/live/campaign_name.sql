-- The name of a campaign ($1).
select name from campaigns where id = $1
