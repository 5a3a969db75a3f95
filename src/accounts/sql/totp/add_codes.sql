-- Recovery codes of an account ($1): their SHA-256 ($2).
insert into recovery_codes (user_id, hash) select $1, unnest($2::bytea[])
