-- As end_over_call, for all that were over before $1.
update calls set ended_at = over_at
where uniqueid_under_way is not null and over_at < $1
returning call_id
