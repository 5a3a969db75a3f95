-- How many clients there are, of one status ($1) or all.
select count(*) as total from clients where $1::text is null or status = $1
