-- Makes the partition of a month of a table ($1), or its next part, and says what was done. The month of a day ($2), or
-- where that is null the one so many months ($3) from now. Of rows in the default partition at most $4 are moved.
select make_history_month(
           $1, coalesce($2::date, (now() at time zone 'UTC' + make_interval(months => $3))::date), $4) as done
