-- A new DID of a seller ($1).
insert into dids (user_id, number, description, status) values ($1, $2, $3, $4)
returning id, user_id, (select username from users u where u.id = user_id) as username, number, status, description,
          created_at, updated_at
