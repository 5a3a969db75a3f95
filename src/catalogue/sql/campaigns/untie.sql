-- Unties all DIDs but these ($2) from a campaign ($1).
delete from campaign_dids where campaign_id = $1 and did_id <> all ($2::int[])
