-- The key of a request ($1): $2 the key, $3 hashes of the spellings, $4 their lengths.
insert into erasure_keys (erasure_id, key, hashes, lengths) values ($1, $2, $3, $4)
