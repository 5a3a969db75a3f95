-- What follows when erasure $1, of daemon $2 in attempt $3, has read everything; $4 is how long it waits in seconds.
select erasure_end_pass($1, $2, $3, $4) as done
