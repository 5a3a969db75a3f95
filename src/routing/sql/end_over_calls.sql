-- As end_over_call, for all that were over half a minute ago: longer than a question lives.
update calls set over_at = null where uniqueid_under_way is not null and over_at < now() - interval '30 seconds'
