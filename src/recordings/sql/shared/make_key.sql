-- A key ($2) for a purpose ($1), unless it has one.
insert into signing_keys (purpose, key) values ($1, $2) on conflict (purpose) do nothing
