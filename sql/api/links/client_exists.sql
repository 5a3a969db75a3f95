-- Whether there is a client ($1), active or not.
select exists (select from clients where id = $1) as there
