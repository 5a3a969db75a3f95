-- The key of a purpose ($1), with role and status of an account ($2), if it is still there.
select k.key, u.role, u.status from signing_keys k left join users u on u.id = $2 where k.purpose = $1
