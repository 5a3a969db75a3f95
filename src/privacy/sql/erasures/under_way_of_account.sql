-- Whether an account ($1) is being erased.
select exists (select from erasures where account_id = $1 and not dry_run and state not in ('done', 'failed')) as there
