-- Sets the count of answered calls ($2) of a link ($1) that was locked. Calls count on it from there. The link
-- itself is not changed by it, as it is not by a call.
update campaign_client_settings set current_total_calls = $2 where id = $1
