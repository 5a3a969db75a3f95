-- A pending DID ($1) takes calls from now on.
update dids set status = 'active', updated_at = now() where id = $1 and status = 'pending' returning id
