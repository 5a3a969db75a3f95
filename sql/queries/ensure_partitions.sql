select ensure_call_log_partitions($1::date, $2)
