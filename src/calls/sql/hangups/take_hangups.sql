-- Takes what daemon $1 is asked to end on the Asterisks that take orders from it ($2), as long as nobody else's machine has
-- one of their names. Orders of an hour ago are forgotten.
with forgotten as (
    delete from hangup_orders where expires_at < clock_timestamp() - interval '1 hour'
)
update hangup_orders o set state = 'taken', taken_by = $1
where o.order_id in (
    select f.order_id from hangup_orders f
    where f.state = 'asked' and f.expires_at > clock_timestamp() and f.server_name = any ($2::text[])
      and exists (
          select from server_observers s
          where s.server_name = f.server_name and s.node_name = $1 and not s.contested
            and s.heartbeat > clock_timestamp() - interval '12 seconds')
    order by f.order_id limit 20 for update skip locked)
returning o.order_id, o.call_id
