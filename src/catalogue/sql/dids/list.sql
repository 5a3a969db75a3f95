-- DIDs of a seller ($1), of one status ($2), the one with this key ($3), those with a text ($4, of digits $5) in number or
-- description, tied to a campaign or to none ($6), tied to this one ($7); each may be null. In this order ($8); rows $9,
-- beginning after $10.
select id, user_id, (select username from users u where u.id = user_id) as username, number, status, description, created_at,
       updated_at
from dids
where ($1::int is null or user_id = $1) and ($2::text is null or status = $2)
  and ($3::text is null or did_key(number) = $3)
  and ($4::text is null or position(lower($4) in lower(description)) > 0 or position($4 in number) > 0
       or position($5::text in regexp_replace(number, '\D', '', 'g')) > 0)
  and ($6::boolean is null or $6 = exists (select from campaign_dids t where t.did_id = dids.id))
  and ($7::int is null or id in (select did_id from campaign_dids where campaign_id = $7))
order by case when $8::text = 'number' then number end, case when $8 = '-number' then number end desc,
         case when $8 = 'createdAt' then created_at end, case when $8 = '-createdAt' then created_at end desc,
         case when $8 = 'updatedAt' then updated_at end, case when $8 = '-updatedAt' then updated_at end desc,
         case when $8 = '-id' then id end desc, id
limit $9 offset $10
