-- How many accounts there are.
select count(*) as total from users
