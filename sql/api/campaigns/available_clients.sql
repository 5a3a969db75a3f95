-- Active clients by name, at most $1: those a seller may link.
select id, client_identifier, name, department from clients where status = 'active' order by name, id limit $1
