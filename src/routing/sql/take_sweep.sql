-- Whether this daemon makes the repairs that concern all of them, until the end of the transaction.
select pg_try_advisory_xact_lock(hashtext('capconduit sweep')) as taken
