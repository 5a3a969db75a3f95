-- Those of these DIDs ($2) that are a seller's ($1). Until the end of the transaction nobody else ties them to a
-- campaign or activates one of theirs.
select id from dids where user_id = $1 and id = any ($2::int[]) order by id for no key update
