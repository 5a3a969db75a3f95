-- Gives daemon $1 the erasure that waits longest, for $2 seconds.
select erasure_id, attempt, is_seller from claim_erasure($1, $2)
