-- New links of a campaign ($1) to these clients ($2), but to those that are linked already.
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, total_calls_allowed,
                                      forwarding_priority, weight)
select $1, new.client_id, new.status, new.max_concurrency, new.total_calls_allowed, new.forwarding_priority, new.weight
from unnest($2::int[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[])
     as new (client_id, status, max_concurrency, total_calls_allowed, forwarding_priority, weight)
on conflict (campaign_id, client_id) do nothing
returning id
