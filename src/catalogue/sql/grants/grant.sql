-- Grants a seller ($2) the use of a client ($1), as $3 says; a row if there was no such grant.
insert into client_grants (client_id, user_id, granted_by) values ($1, $2, $3)
on conflict do nothing
returning user_id
