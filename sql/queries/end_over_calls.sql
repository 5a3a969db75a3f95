-- As end_over_call, for all that were over before $1.
update calls set over_at = null where uniqueid_under_way is not null and over_at < $1
