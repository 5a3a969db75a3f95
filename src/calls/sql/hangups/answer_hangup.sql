-- What came of an order ($1) that a daemon took: whether Asterisk was told ($2), and whether there was such a channel ($3).
update hangup_orders set state = case when $2::boolean then 'done' else 'failed' end, hung_up = $3::boolean
where order_id = $1 and state = 'taken'
