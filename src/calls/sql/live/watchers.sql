-- The daemons that watch an Asterisk ($1) now, by name.
select node_name
from server_observers
where server_name = $1 and not contested and heartbeat > clock_timestamp() - interval '12 seconds'
order by node_name
