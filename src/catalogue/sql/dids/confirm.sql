-- A pending DID ($1) takes calls from now on.
update dids set status = 'active', updated_at = now() where id = $1 and status = 'pending'
returning id, user_id, (select username from users u where u.id = user_id) as username, number, status, description,
          created_at, updated_at
