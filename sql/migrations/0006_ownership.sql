-- The Asterisk servers that calls were seen on, and who looks after each.
create table servers (name text primary key, entity_id text, system_name text, startup_time timestamptz, version text, observer text, heartbeat timestamptz not null default now(), declared_dead_at timestamptz, declared_dead_by text);
grant select, insert, update, delete on servers to capconduit_app;
