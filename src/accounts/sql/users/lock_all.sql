-- Waits until nobody else changes accounts. What is true of all of them together (one active administrator is left,
-- no two names differ in case only) is looked at in the statements after it.
select pg_advisory_xact_lock(hashtextextended('capconduit users', 0))
