-- Whether the end of a call was told by its dialplan, or inferred from what was seen: a report that comes after such an
-- end corrects the record.
--
-- Safe beside the version before, which leaves the column out: what it has closed counts as inferred, and a report that
-- is repeated says the same again.

-- step: calls
alter table calls add column if not exists end_reported boolean not null default false;
