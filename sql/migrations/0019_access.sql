-- Links to recordings that end when all access of an account is taken back. Daemons of the version before go on beside
-- it: the new column may be left out, and nothing that they name changes.

-- step: How often all links of an account were ended: a link names the number it was made at, and opens at no other
alter table users add column if not exists links_epoch int not null default 0;
