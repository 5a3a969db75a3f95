-- Notes that a key ($1) was used, unless somebody does so just now.
with stale as (
    select key_id from api_keys
    where key_id = $1 and (last_used_at is null or last_used_at <= now() - interval '1 minute')
    for no key update skip locked
)
update api_keys k set last_used_at = now() from stale where k.key_id = stale.key_id
