-- What has become of an order ($1) to end a call.
select case when state = 'asked' and expires_at <= clock_timestamp() then 'expired' else state end as state, hung_up
from hangup_orders where order_id = $1
