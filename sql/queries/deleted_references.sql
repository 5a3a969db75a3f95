-- Deleted rows that call records may still refer to, the oldest first; at most $1.
select column_name, id from deleted_references order by deleted_at, column_name, id limit $1
