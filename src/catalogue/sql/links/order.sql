-- Puts links ($2) of a campaign ($1) in these tiers ($3), with these shares ($4). A link that stays where it is is not
-- changed.
update campaign_client_settings s
set forwarding_priority = place.forwarding_priority, weight = place.weight, updated_at = now()
from unnest($2::int[], $3::int[], $4::int[]) as place (link_id, forwarding_priority, weight)
where s.campaign_id = $1 and s.id = place.link_id
  and (s.forwarding_priority, s.weight) is distinct from (place.forwarding_priority, place.weight)
