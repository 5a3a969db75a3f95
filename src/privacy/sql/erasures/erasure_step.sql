-- Reads the next $5 blocks of what erasure $1 reads, for daemon $2 in attempt $3, which then has $4 seconds more.
select erasure_step($1, $2, $3, $4, $5) as done
