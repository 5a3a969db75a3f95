-- A campaign whose rotation row was lost (restored without triggers, say) gets a fresh one.
insert into campaign_rotations (campaign_id) values ($1) on conflict do nothing
