-- As add_missing_rotation, for the usage of a campaign's links.
insert into link_usage (link_id)
select s.id from campaign_client_settings s where s.campaign_id = $1
on conflict do nothing
