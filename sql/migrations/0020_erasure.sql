-- Erasures look again for what was on its way while they were at work, and calls are ended by the daemon that can.
--
-- An end of a call may wait in a daemon for the database, on disk too, while the caller is erased. It is in no table then.
-- For two days after its end an erasure looks at the calls that were written since, and erases what it finds. After a day of
-- waiting a daemon forgets who called (routing/late.rs), so later than that nothing can arrive.
--
-- Safe beside the version before: new columns and tables only.

-- step: What arrives late
-- Rows of calls that are meant and may not be changed yet.
alter table erasures add column if not exists waiting_in_pass bigint not null default 0;
-- Calls with a higher id were written after the work began; null: it has not begun.
alter table erasures add column if not exists late_above bigint;
-- The highest id at the last look: those up to it are read once more at the next, since a row may be written after its
-- id was taken.
alter table erasures add column if not exists seen_up_to bigint;
-- Until when it looks, and when next; null: it does not.
alter table erasures add column if not exists watched_until timestamptz;
alter table erasures add column if not exists look_at timestamptz;

-- The highest id that any call has got.
create or replace function newest_call() returns bigint
language sql volatile set search_path = public, pg_temp as
    $$ select coalesce(pg_sequence_last_value('call_logs_id_seq'), 0) $$;

-- Looks once, for the erasure whose turn it is, at the calls that were written since its last look. Returns the rows that
-- it changed; null: there is none to look for.
create or replace function erase_late() returns bigint language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '200ms' set timezone = 'UTC' as $$
declare
    e erasures;
    k erasure_keys;
    what record;
    of_place text;
    found_rows bigint;
    all_rows bigint := 0;
    newest bigint := newest_call();
    counted jsonb;
begin
    select * into e from erasures x
    where x.state = 'done' and x.look_at <= now()
    order by x.look_at limit 1 for update skip locked;
    if not found then
        return null;
    end if;
    select * into strict k from erasure_keys x where x.erasure_id = e.erasure_id;
    counted := e.counts;
    foreach of_place in array array['call_logs', 'calls'] loop
        select * into what from erasure_changes(e.kind, of_place);
        -- What a caller does after the erasure is a new call. A number that was a seller's is nobody's until it is given
        -- away again.
        execute format(
            'update %1$s set %2$s where %3$s > $1 and %4$s and %5$s < $7 and (%6$s)', of_place, what.change,
            what.call_column, what.is_over, what.began_at,
            what.is_meant || case e.kind when 'seller' then
                ' or user_id is null and incoming_did_number not like ''erased-%'' '
                'and erasure_meets(did_key(incoming_did_number), $2, $3, $4)' else '' end)
            using coalesce(e.late_above, 0), k.key, k.hashes, k.lengths, e.pseudonym, e.account_id,
                  case e.kind when 'seller' then 'infinity' else e.finished_at end;
        get diagnostics found_rows = row_count;
        if found_rows > 0 then
            counted := jsonb_set(counted, array[of_place],
                                 to_jsonb(coalesce((counted ->> of_place)::bigint, 0) + found_rows));
            all_rows := all_rows + found_rows;
        end if;
    end loop;
    update erasures
    set counts = counted, late_above = coalesce(seen_up_to, late_above), seen_up_to = newest,
        look_at = case when now() < watched_until then least(now() + interval '10 minutes', watched_until) end
    where erasure_id = e.erasure_id;
    if now() >= e.watched_until then
        delete from erasure_keys where erasure_id = e.erasure_id;
    end if;
    return all_rows;
end
$$;
revoke execute on function newest_call(), erase_late() from public;
grant execute on function erase_late() to capconduit_app;

-- step: Calls that another daemon can end
-- An order to end a call lives for some seconds: a daemon that watches the call's Asterisk takes it, and says what came of
-- it. Forgotten after an hour.
create table if not exists hangup_orders (
    order_id bigint generated always as identity primary key,
    -- The seller of the call; null: nobody's.
    user_id int,
    call_id bigint not null,
    server_name text not null,
    state text not null default 'asked',
    -- Nobody takes it later.
    expires_at timestamptz not null,
    taken_by text,
    hung_up boolean,
    constraint hangup_orders_state_check check (state in ('asked', 'taken', 'done', 'failed'))
);
alter table hangup_orders enable row level security;
drop policy if exists daemon on hangup_orders;
drop policy if exists operator on hangup_orders;
drop policy if exists tenant on hangup_orders;
create policy daemon on hangup_orders to capconduit_app using (true) with check (true);
create policy operator on hangup_orders to capconduit_admin using (true) with check (true);
create policy tenant on hangup_orders to capconduit_api using (user_id = current_tenant())
    with check (user_id = current_tenant());
grant select, update, delete on hangup_orders to capconduit_app;
grant select, insert on hangup_orders to capconduit_admin, capconduit_api;
