-- How many rows lie in the default partition of each table, counted up to $1, and how many were ever put there.
select table_name, stray_rows, ever_inserted from history_strays_of_all($1)
