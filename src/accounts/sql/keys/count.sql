-- How many usable keys a user ($1) has.
select count(*) as usable from api_keys
where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
