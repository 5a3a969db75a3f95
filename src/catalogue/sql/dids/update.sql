-- Changes a DID ($1) that was locked: its description to $3 if $2, its status to $4 if given.
update dids
set description = case when $2::boolean then $3::text else description end,
    status = coalesce($4, status), updated_at = now()
where id = $1
returning id, user_id, (select username from users u where u.id = user_id) as username, number, status, description,
          created_at, updated_at
