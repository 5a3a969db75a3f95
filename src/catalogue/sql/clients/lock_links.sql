-- The links of a client ($1): none of them becomes active from here on.
select id from campaign_client_settings where client_id = $1 order by id for update
