-- Ties a DID ($2) to a campaign ($1); a row if it was not tied.
insert into campaign_dids (campaign_id, did_id) values ($1, $2) on conflict do nothing returning did_id
