-- Forgets answers of accounts that have more than $1: the oldest ones, unless they are at work still.
delete from idempotency_keys k using (
    select user_id, idempotency_key,
           row_number() over (partition by user_id order by created_at desc) as place
    from idempotency_keys
    where user_id in (select user_id from idempotency_keys group by user_id having count(*) > $1::bigint)
) o
where o.place > $1::bigint and k.user_id = o.user_id and k.idempotency_key = o.idempotency_key
  and k.status is not null
