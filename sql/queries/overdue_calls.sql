-- Calls that outlived the dialplan's absolute timeout ($1 is now): nobody reported or saw their end.
select call_id from calls where uniqueid_under_way is not null and ended_at is null and expires_at < $1 order by expires_at limit 500
