-- Drops the oldest partition of a table ($1) that is over since $2 months. Kept ones are older and still needed.
select partition_name, dropped from drop_history_month($1, $2)
