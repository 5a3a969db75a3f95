-- A new link of a campaign ($1) to a client ($2).
insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, total_calls_allowed,
                                      forwarding_priority, weight)
values ($1, $2, $3, $4, $5, $6, $7)
returning id
