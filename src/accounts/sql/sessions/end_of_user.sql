-- Ends the sessions of a user ($1), all but $2 if that is given.
delete from sessions where user_id = $1 and session_id is distinct from $2::bigint returning session_id
