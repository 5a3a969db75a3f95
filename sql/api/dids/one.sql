-- A DID ($2) of a seller ($1).
select id, number, status, description, created_at, updated_at from dids where user_id = $1 and id = $2
