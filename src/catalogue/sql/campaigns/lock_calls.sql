-- Waits for claims of slots in a campaign ($1) that is about to be deleted, and holds off new ones.
select lock_calls_of_campaign($1)
