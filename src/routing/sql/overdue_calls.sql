-- Calls that outlived the dialplan's absolute timeout and that nobody watches: nobody reported or saw their end. Of a
-- server that is compared with its calls, the comparison decides.
select c.call_id
from calls c
where c.uniqueid_under_way is not null and c.ended_at is null and c.expires_at < now()
  and not exists (
      select from server_observers o
      where o.server_name = c.server_name and not o.contested and o.heartbeat > now() - interval '12 seconds')
order by c.expires_at
limit 500
