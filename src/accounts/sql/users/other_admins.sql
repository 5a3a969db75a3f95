-- How many active administrators there are beside one ($1).
select count(*) as others from users where role = 'admin' and status = 'active' and id <> $1
