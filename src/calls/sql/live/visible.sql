-- Those of some calls ($1) that the role and tenant of this transaction may see: row level security says which.
select call_id from calls where call_id = any ($1::bigint[])
