-- Ends a session ($2) of a user ($1).
delete from sessions where user_id = $1 and session_id = $2 returning session_id
