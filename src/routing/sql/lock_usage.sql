-- Locks a link's usage ($1); its open reservations are counted by the next statement.
select held, confirmed from link_usage where link_id = $1 for update
