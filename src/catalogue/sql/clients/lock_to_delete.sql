-- A client ($1), to be deleted: from here on nobody can link it.
select id from clients where id = $1 for update
