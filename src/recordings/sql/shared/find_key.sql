-- The key of a purpose ($1), with role, status and links' epoch of an account ($2), if it is still there; and whether its
-- API key ($3) is not revoked: true where none is named.
select k.key, u.role, u.status, u.links_epoch,
       $3::bigint is null
       or exists (select from api_keys a
                  where a.key_id = $3 and a.user_id = u.id and a.revoked_at is null) as api_key_stands
from signing_keys k left join users u on u.id = $2 where k.purpose = $1
