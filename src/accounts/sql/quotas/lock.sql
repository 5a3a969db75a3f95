-- Additions of one kind ($2) to what a user ($1) has wait for each other until the transaction ends, so that none is
-- counted past.
select pg_advisory_xact_lock(hashtextextended(format('capconduit quota %s %s', $1::int, $2::text), 0))
