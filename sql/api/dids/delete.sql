-- Deletes a DID ($2) of a seller ($1).
delete from dids where user_id = $1 and id = $2 returning id
