-- The second factor of an account ($1): whether it is locked, and for how many seconds; how many codes are left.
select t.confirmed_at, coalesce(greatest(extract(epoch from t.locked_until - now()), 0), 0)::float8 as wait,
       (select count(*) from recovery_codes c where c.user_id = t.user_id and c.used_at is null) as codes_left
from totp_secrets t where t.user_id = $1
