-- Removes what ended before $1 from the tables of calls under way; the log and the attempts remain.
with forgotten as (
    delete from calls where call_id in (
        select call_id from calls where ended_at < $1 order by ended_at limit 5000)
    returning call_id
), released as (
    delete from reservations where call_id in (select call_id from forgotten) and ended_at is not null
)
select count(*) from forgotten
