-- A client ($1), to be changed.
select id, client_identifier, name, department, status from clients where id = $1 for no key update
