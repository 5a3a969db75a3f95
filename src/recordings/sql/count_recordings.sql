-- How many recordings are expected, are missing of those expected since $1, and whether one that should have been
-- deleted by $2 is kept elsewhere than at $3.
select (select count(*) from recordings where state = 'expected') as expected,
       (select count(*) from recordings where state = 'missing' and expected_at >= $1) as missing,
       exists (select from recordings
               where delete_after < $2 and state = 'stored' and hold_reason is null and location <> $3) as elsewhere
