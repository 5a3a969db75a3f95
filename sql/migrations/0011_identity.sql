-- A unique id names a channel of one Asterisk only: two servers without a system name give the same ones, and so does
-- a restarted one. Calls that share a unique id are told apart by `uniqueid_key`; without one the unique id is the key,
-- as before, so that the version before finds its calls.
--
-- Writes `calls` anew, which holds the calls under way and the ended ones of two hours. The step before removed
-- what is older.
alter table calls drop column uniqueid_under_way;
alter table calls
    add column uniqueid_under_way varchar(54)
        generated always as
            (case when ended_at is null or over_at is not null then coalesce(uniqueid_key, asterisk_uniqueid) end) stored,
    add constraint calls_uniqueid_under_way_key unique (uniqueid_under_way);

-- Slots that wait for the target's channel are few at any time.
create index reservations_waiting_idx on reservations (server_name)
    where ended_at is null and attempt_ended_at is not null;
