-- Takes a seller ($2) the use of a client ($1); a row if there was such a grant.
delete from client_grants where client_id = $1 and user_id = $2 returning user_id
