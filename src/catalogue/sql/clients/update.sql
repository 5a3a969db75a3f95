-- Changes a client ($1): name, status and access if given, department to $4 if $3, notes to $7 if $6; it registers if $9,
-- if given.
update clients
set name = coalesce($2::text, name),
    department = case when $3::boolean then $4::text else department end,
    status = coalesce($5::text, status),
    notes = case when $6::boolean then $7::text else notes end,
    access = coalesce($8::text, access),
    registers = coalesce($9::boolean, registers),
    updated_at = now()
where id = $1
returning id
