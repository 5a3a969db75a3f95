-- The links of a campaign ($1), to be changed, in the order in which all lock them.
select id from campaign_client_settings where campaign_id = $1 order by id for no key update
