-- The call whose slot is held by a reservation ($1). There are few open ones.
select call_id from reservations where reservation_id = $1 and ended_at is null
