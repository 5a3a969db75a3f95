-- Whether an erasure of an account ($1) is under way or was done, dry runs aside.
select exists (select from erasures where account_id = $1 and not dry_run) as there
