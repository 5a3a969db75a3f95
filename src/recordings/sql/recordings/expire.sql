-- A recording ($1) is due to be deleted.
update recordings set delete_after = least(delete_after, now()) where recording_id = $1
