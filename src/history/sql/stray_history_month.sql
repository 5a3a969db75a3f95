-- The newest month of which the default partition of a table ($1) holds rows; null: none.
select stray_history_month($1) as month
