-- Changes a DID ($2) of a seller ($1): its description to $4 if $3, its status to $5 if given.
update dids
set description = case when $3::boolean then $4::text else description end,
    status = coalesce($5, status), updated_at = now()
where user_id = $1 and id = $2
returning id, number, status, description, created_at, updated_at
