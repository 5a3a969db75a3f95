-- A browser ($2: the SHA-256 of its token) that logged in to an account ($1) for the first time. Of more than $3 those
-- are forgotten that were not seen for longest.
with old as (
    delete from login_devices where device_id in (
        select device_id from login_devices where user_id = $1 order by last_seen_at desc, device_id desc offset $3::bigint - 1)
)
insert into login_devices (user_id, token_hash) values ($1, $2)
