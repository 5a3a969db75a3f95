-- Removes calls that ended more than $1 seconds ago, and their reservations, from the tables of calls under way: at most
-- $2 calls, and none of which a slot is still held. The log remains, and the attempts go to the history.
with old as (
    select c.call_id from calls c
    where c.ended_at < clock_timestamp() - make_interval(secs => $1)
      and not exists (select from reservations r where r.call_id = c.call_id and r.ended_at is null)
    order by c.ended_at
    limit $2
    for update skip locked
), forgotten as (
    delete from calls c using old o where c.call_id = o.call_id returning c.call_id
), released as (
    delete from reservations r using old o where r.call_id = o.call_id and r.ended_at is not null
)
select count(*) as forgotten from forgotten
