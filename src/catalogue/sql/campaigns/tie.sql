-- Ties these DIDs ($2) to a campaign ($1); those tied already stay.
insert into campaign_dids (campaign_id, did_id)
select $1::int, did_id from unnest($2::int[]) as wanted (did_id)
on conflict do nothing
