-- The campaigns that a client ($1) is linked to: none of them becomes active from here on.
select id from campaigns
where id in (select campaign_id from campaign_client_settings where client_id = $1)
order by id
for share
