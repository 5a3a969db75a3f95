-- Unties a DID ($2) from a campaign ($1); a row if it was tied.
delete from campaign_dids where campaign_id = $1 and did_id = $2 returning did_id
