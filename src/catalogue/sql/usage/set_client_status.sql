-- Sets the status ($2) of a client ($1).
update clients set status = $2, updated_at = now() where id = $1
