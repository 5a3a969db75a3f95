-- Whether daemon $2 sees another machine under a server's name ($1) than others do: then it does not count as watching.
update server_observers set contested = $3 where server_name = $1 and node_name = $2 and contested <> $3
