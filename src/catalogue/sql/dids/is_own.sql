-- Whether a seller ($1) has the DID with this key ($2).
select exists (select from dids where user_id = $1 and did_key(number) = $2) as own
