-- A new DID of a seller ($1).
insert into dids (user_id, number, description, status) values ($1, $2, $3, $4)
returning id, number, status, description, created_at, updated_at
