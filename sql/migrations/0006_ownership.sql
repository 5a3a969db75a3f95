-- Which Asterisk a call is on, and which channel its slot waits for.
--
-- A call belongs to the server on which its channel was seen. A name in a configuration file or an address says
-- nothing: two machines may use the same. Everything added here has a default, so the version before goes on
-- working beside this one.

-- The Asterisk servers, by the name that [[asterisk]] gives them.
create table if not exists servers (
    name text primary key,
    -- As Asterisk tells them: `system.entity_id`, `config.name`, `status.startup_time`, `system.version`.
    entity_id text,
    system_name text,
    startup_time timestamptz,
    version text,
    -- The daemon that compared calls with channels last, and when.
    observer text,
    heartbeat timestamptz not null default now(),
    declared_dead_at timestamptz,
    declared_dead_by text
);

-- Each daemon that watches a server, and what it sees there. Two daemons that see different servers under one name
-- are told by comparing their rows.
create table if not exists server_observers (
    server_name text not null,
    node_name text not null,
    entity_id text,
    system_name text,
    startup_time timestamptz,
    heartbeat timestamptz not null default now(),
    -- Another machine uses the name: this daemon concludes nothing, and does not count as watching.
    contested boolean not null default false,
    primary key (server_name, node_name)
);
grant select, insert, update, delete on servers, server_observers to capconduit_app;

-- step: calls
-- system_name: the Asterisk's own name, as the dialplan said. likely_server_name: the server that its address
-- suggests; a hint that never makes a call some server's. seen_by: the daemon that saw its channel first.
-- channel_created_at: when Asterisk says it made the channel, by its own clock; compared with itself only.
alter table calls
    add column if not exists system_name text,
    add column if not exists likely_server_name text,
    add column if not exists seen_by text,
    add column if not exists channel_created_at timestamptz,
    -- Set when another call, of another Asterisk or of one that was restarted, is under way under the same unique id.
    add column if not exists uniqueid_key varchar(54);

-- step: reservations
-- A slot ends with the target's channel. attempt_ended_at: the attempt is over, but that channel (leg_uniqueid on
-- server_name) was still there; the slot is released when it is seen to be gone.
-- confirmed_by: what said that the target answered: `event` (its own), `bridge` (seen talking), `report` (the dialplan).
alter table reservations
    add column if not exists server_name text,
    add column if not exists leg_uniqueid varchar(50),
    add column if not exists attempt_ended_at timestamptz,
    add column if not exists confirmed_by text;

-- step: call_logs
alter table call_logs add column if not exists server_name text;
-- Counts for new rows; older ones may say more seconds than the call lasted, and are not read through here.
-- The version before writes what Asterisk counted, which may begin in a menu before us: its records are kept, with no
-- more than the call lasted.
create or replace function bill_no_more_than_lasted() returns trigger
language plpgsql set search_path = public, pg_temp as $$
begin
    new.billsec_seconds := new.duration_seconds;
    return new;
end
$$;
drop trigger if exists bill_no_more_than_lasted on call_logs;
create trigger bill_no_more_than_lasted before insert or update on call_logs for each row
    when (new.billsec_seconds > new.duration_seconds) execute function bill_no_more_than_lasted();
alter table call_logs drop constraint if exists call_logs_billsec_check;
alter table call_logs add constraint call_logs_billsec_check
    check (billsec_seconds <= duration_seconds) not valid;

-- step: what would be forgotten
-- A later migration writes the table of calls under way anew: what would be forgotten soon need not be copied.
delete from reservations r using calls c
where c.call_id = r.call_id and c.ended_at < now() - interval '2 hours' and r.ended_at is not null;
delete from calls where ended_at < now() - interval '2 hours';
