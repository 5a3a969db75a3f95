-- Deletes a DID ($1) that was locked.
delete from dids where id = $1
