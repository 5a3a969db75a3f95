-- Whether a call ($1) is under way or has an open slot.
select exists (select from calls where call_id = $1 and ended_at is null)
    or exists (select from reservations where call_id = $1 and ended_at is null) as releasable
