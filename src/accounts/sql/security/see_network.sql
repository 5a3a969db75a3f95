-- Notes that a key ($1) of a user ($2) was used from a network ($3). A row if that is new. Of a key that comes from
-- more than 1000 networks no more are kept.
insert into api_key_networks (key_id, user_id, network)
select $1, $2, $3
where (select count(*) from api_key_networks where key_id = $1) < 1000
on conflict do nothing
returning (select count(*) from api_key_networks where key_id = $1) as known
