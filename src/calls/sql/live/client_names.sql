-- The names of clients ($1), of those that are still there.
select id, name from clients where id = any ($1::int[])
