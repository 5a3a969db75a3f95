-- The seller of a call ($1) under way, or ended within hours.
select user_id from calls where call_id = $1
