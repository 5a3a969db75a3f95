-- Ends all sessions of an account ($1).
delete from sessions where user_id = $1 returning session_id
