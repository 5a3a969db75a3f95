-- Holds a recording ($1) for a reason ($2), or with null no longer.
update recordings set hold_reason = $2::text where recording_id = $1
