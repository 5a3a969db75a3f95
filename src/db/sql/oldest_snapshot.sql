-- How long the oldest snapshot has kept PostgreSQL from clearing away old row versions.
select seconds, hidden from oldest_snapshot()
