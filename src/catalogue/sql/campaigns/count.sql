-- How many campaigns there are of a seller ($1), of one status ($2), strategy ($3), with a DID ($4) or a client ($5), with a
-- text ($6) in name or description; each may be null.
select count(*) as total
from campaigns
where ($1::int is null or user_id = $1) and ($2::text is null or status = $2)
  and ($3::text is null or routing_strategy = $3)
  and ($4::int is null or id in (select campaign_id from campaign_dids where did_id = $4))
  and ($5::int is null or id in (select campaign_id from campaign_client_settings where client_id = $5))
  and ($6::text is null or position(lower($6) in lower(name)) > 0 or position(lower($6) in lower(description)) > 0)
