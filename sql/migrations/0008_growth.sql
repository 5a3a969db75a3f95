-- History by month, for all that grows with the calls: call_logs as before, now call_attempts, decisions and audit_log
-- too; functions that make months, drop old ones and empty the default partitions.
--
-- It is safe beside a running daemon: each step below is a transaction of its own that locks one table for some
-- milliseconds or reads history without locking it. Each step may be run again. See ADR 0018.

-- What is kept by month. `time_column` tells the month; `own_key` is the primary key of each month where the table as
-- a whole cannot have it, because a key over all months would have to contain the time.
create or replace function history_tables()
returns table (table_name text, time_column text, by_list boolean, own_key text, storage text)
language sql immutable as $$
    values ('call_logs', 'timestamp_start', false, null, ''),
           ('call_attempts', 'month', true, 'call_id, attempt', 'with (fillfactor = 100)'),
           ('decisions', 'decided_at', false, 'decision_id', ''),
           ('audit_log', 'at', false, 'audit_id', '')
$$;

-- The months of a table that have a partition, whatever its name: from a moment (null: from the beginning) to before
-- another. Without the default partition, and without call_attempts_recent.
create or replace function history_months(of_table text)
returns table (partition regclass, from_time timestamptz, to_time timestamptz)
language sql stable set search_path = public, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
    select child,
           coalesce(substring(bound from 'FROM \(''([^'']+)''\)')::timestamptz, listed),
           coalesce(substring(bound from 'TO \(''([^'']+)''\)')::timestamptz, listed + interval '1 month')
    from (
        select c.oid::regclass as child, pg_get_expr(c.relpartbound, c.oid) as bound,
               substring(pg_get_expr(c.relpartbound, c.oid) from 'IN \(''([^'']+)''\)')::timestamptz as listed
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        where i.inhparent = to_regclass(of_table)
    ) bounds
    where bound like '%TO (%' or listed is not null
$$;

-- Autovacuum is asked to let go of a table, and kept off until the end of the transaction. It goes when somebody waits for
-- it for a second: the locks below wait a tenth of that, because calls wait behind them. Behind this one they do not.
create or replace function lock_out_vacuum(of_table regclass) returns void
language plpgsql set lock_timeout = '5s' as $$
begin
    execute format('lock table %s in share update exclusive mode', of_table);
end
$$;

-- Makes the partition of a month, or of its next part, and says what was done:
--   made        it is there now, with the rows that the default partition held of it
--   there       the whole month was there before
--   prepared    call again; see below
--   name taken  a table of its name exists and is no partition; nothing was done
--
-- Of rows in the default partition at most `most_rows` are moved: a month that has more of them becomes several
-- partitions, one at each call, so that the work of one call is bounded.
--
-- PostgreSQL reads the whole default partition under a lock before it attaches a month, to be sure that it holds no row
-- of it. Of a large one that takes too long. So a month that has no rows there is made in three calls: a CHECK that
-- says so, its validation, which locks nobody out, and the month itself. Until then a row of that month is refused,
-- which is why months are made long before their first row.
--
-- A row of the month that comes in the moment in which the partition is attached is refused, and succeeds when it is
-- tried again: so the daemon moves rows when no more come. Rows of other months never wait for this.
create or replace function make_history_month(of_table text, of_month date, most_rows int default 200000)
returns text
language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '50ms' set timezone = 'UTC' as $$
declare
    spec record;
    month_start timestamptz := date_trunc('month', of_month);
    next_month timestamptz := month_start + interval '1 month';
    from_time timestamptz := month_start;
    to_time timestamptz := next_month;
    partition_name text := of_table || to_char(month_start, '_YYYY_MM');
    default_name text := of_table || '_default';
    guard_name text := 'no_rows_of_' || to_char(month_start, 'YYYY_MM');
    guard_validated boolean;
    is_of_it text;
    move text;
    strays int;
    cut timestamptz;
    is_small boolean := pg_relation_size(default_name::regclass) < 16 * 1024 * 1024;
    is_empty boolean;
begin
    select * into strict spec from history_tables() t where t.table_name = of_table;
    perform pg_advisory_xact_lock(hashtext('capconduit months of ' || of_table));
    select coalesce(max(m.to_time), month_start) into from_time from history_months(of_table) m
        where coalesce(m.from_time < next_month, true) and m.to_time > month_start;
    if from_time >= next_month then
        return 'there';
    end if;
    is_of_it := format('%1$I >= %2$L and %1$I < %3$L', spec.time_column, from_time, next_month);
    execute format('select count(*) from (select from %I where %s limit %s) few',
                   default_name, is_of_it, most_rows::bigint + 1) into strays;
    if strays > most_rows and not spec.by_list then
        execute format('select date_trunc(''minute'', %1$I) from %2$I where %3$s order by %1$I offset %4$s limit 1',
                       spec.time_column, default_name, is_of_it, most_rows) into cut;
        to_time := case when cut > from_time then cut else next_month end;
        is_of_it := format('%1$I >= %2$L and %1$I < %3$L', spec.time_column, from_time, to_time);
    end if;
    if to_time - from_time <> next_month - month_start then
        partition_name := of_table || to_char(from_time, '_YYYY_MM_DD_HH24MI');
    end if;
    if to_regclass(quote_ident(partition_name)) is not null then
        return 'name taken';
    end if;
    perform lock_out_vacuum(default_name::regclass);
    if strays = 0 and not is_small then
        select c.convalidated into guard_validated from pg_constraint c
        where c.conrelid = default_name::regclass and c.conname = guard_name;
        if guard_validated is null then
            execute format('alter table %I add constraint %I check (not (%s)) not valid',
                           default_name, guard_name, is_of_it);
            return 'prepared';
        elsif not guard_validated then
            execute format('alter table %I validate constraint %I', default_name, guard_name);
            return 'prepared';
        end if;
    end if;
    execute format('create table %I (like %I including all) %s', partition_name, of_table, spec.storage);
    if spec.own_key is not null then
        execute format('alter table %I add primary key (%s)', partition_name, spec.own_key);
    end if;
    execute format('alter table %I enable row level security', partition_name);
    if strays > 0 then
        move := format('with moved as (delete from %I where %s returning *) insert into %I select * from moved',
                       default_name, is_of_it, partition_name);
        execute move;
        execute format('lock table %I in access exclusive mode', default_name);
        execute move;
        -- What was moved is room for nothing: it goes when all rows have.
        execute format('select not exists (select from %I)', default_name) into is_empty;
        if is_empty then
            execute format('truncate %I', default_name);
        end if;
    end if;
    if spec.by_list then
        execute format('alter table %I attach partition %I for values in (%L)',
                       of_table, partition_name, month_start::date);
    else
        execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                       of_table, partition_name, from_time, to_time);
    end if;
    if guard_validated then
        execute format('alter table %I drop constraint %I', default_name, guard_name);
    end if;
    return 'made';
end
$$;

-- As daemons of earlier versions ask for months of the call log: how many were made.
create or replace function ensure_call_log_partitions(first_day date, months int) returns int
language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '50ms' set timezone = 'UTC' as $$
declare
    made int := 0;
begin
    if months not between 1 and 36 then
        raise exception 'months must be between 1 and 36, not %', months;
    end if;
    for i in 0 .. months - 1 loop
        if make_history_month('call_logs', (first_day + make_interval(months => i))::date) = 'made' then
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;

-- The newest month of which the default partition of a table holds rows; null: none.
create or replace function stray_history_month(of_table text) returns date
language plpgsql stable security definer set search_path = public, pg_temp set timezone = 'UTC' as $$
declare
    spec record;
    latest date;
begin
    select * into strict spec from history_tables() t where t.table_name = of_table;
    execute format('select date_trunc(''month'', max(%I))::date from %I', spec.time_column, of_table || '_default')
        into latest;
    return latest;
end
$$;

-- How many rows lie in the default partition of each table, counted up to `at_most`, and how many were ever put there.
create or replace function history_strays(at_most int)
returns table (table_name text, stray_rows bigint, ever_inserted bigint)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
begin
    for table_name in select t.table_name from history_tables() t loop
        execute format('select count(*) from (select from %I limit %s) few', table_name || '_default', at_most)
            into stray_rows;
        ever_inserted := pg_stat_get_tuples_inserted((table_name || '_default')::regclass);
        return next;
    end loop;
end
$$;

-- Drops the oldest partition of a table all of whose months are over since `keep_months` months, and returns it. A
-- month of the call log stays, and is returned as kept, while a recording of one of its calls is kept: it is found by
-- its call only. At most one is dropped.
create or replace function drop_history_month(of_table text, keep_months int)
returns table (partition_name text, dropped boolean)
language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '50ms' set timezone = 'UTC' as $$
declare
    old record;
    needed boolean := false;
begin
    if keep_months not between 1 and 600 then
        raise exception 'keep_months must be between 1 and 600, not %', keep_months;
    end if;
    perform from history_tables() t where t.table_name = of_table;
    if not found then
        raise exception 'no history is kept in %', of_table;
    end if;
    -- One daemon at a time.
    if not pg_try_advisory_xact_lock(hashtext('capconduit months of ' || of_table)) then
        return;
    end if;
    for old in select m.partition from history_months(of_table) m
               where m.to_time <= date_trunc('month', now()) - make_interval(months => keep_months)
               order by m.to_time loop
        partition_name := old.partition::text;
        if of_table = 'call_logs' then
            execute format(
                'select exists (
                     select from recordings r
                     where r.state in (''expected'', ''stored'')
                       and r.call_id between (select min(id) from %1$s) and (select max(id) from %1$s)
                       and exists (select from %1$s l where l.id = r.call_id))', old.partition) into needed;
        end if;
        dropped := not needed;
        if dropped then
            perform lock_out_vacuum(old.partition);
            execute format('alter table %I detach partition %s', of_table, old.partition);
            execute format('drop table %s', old.partition);
        end if;
        return next;
        exit when dropped;
    end loop;
end
$$;

-- Moves attempts of forgotten calls from the table that calls work with to the history, and returns how many.
create or replace function archive_call_attempts(at_most int) returns int
language plpgsql security definer set search_path = public, pg_temp set enable_seqscan = off as $$
declare
    archived int;
begin
    with old as (
        select a.call_id, a.attempt from call_attempts_recent a
        where not exists (select from calls c where c.call_id = a.call_id)
          and not exists (select from reservations r where r.call_id = a.call_id and r.ended_at is null)
        order by a.call_id
        limit at_most
        for update of a skip locked
    ), moved as (
        delete from call_attempts_recent a using old o
        where a.call_id = o.call_id and a.attempt = o.attempt
        returning a.*
    )
    insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id, offered_at,
                               ring_timeout_seconds, answered_at, ended_at, outcome, dial_status, hangup_cause_code,
                               recording_stem, month)
    select call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id, offered_at,
           ring_timeout_seconds, answered_at, ended_at, outcome, dial_status, hangup_cause_code, recording_stem,
           date_trunc('month', offered_at at time zone 'UTC')::date
    from moved;
    get diagnostics archived = row_count;
    return archived;
end
$$;

revoke execute on function lock_out_vacuum(regclass), make_history_month(text, date, int), ensure_call_log_partitions(date, int),
    stray_history_month(text), history_strays(int), drop_history_month(text, int), archive_call_attempts(int)
    from public;
grant execute on function make_history_month(text, date, int), ensure_call_log_partitions(date, int),
    stray_history_month(text), history_strays(int), drop_history_month(text, int), archive_call_attempts(int)
    to capconduit_app;

-- step: Give an exact copy of a table's rights and policies to another table, for the steps below
create or replace function copy_access(from_table regclass, to_table regclass) returns void
language plpgsql set search_path = public, pg_temp as $$
declare
    entry record;
begin
    for entry in select acl.privilege_type, acl.grantee, acl.is_grantable
                 from pg_class c cross join aclexplode(c.relacl) acl
                 where c.oid = from_table and acl.grantee <> c.relowner loop
        execute format('grant %s on %s to %s%s', entry.privilege_type, to_table,
                       case entry.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(entry.grantee)) end,
                       case when entry.is_grantable then ' with grant option' else '' end);
    end loop;
    for entry in select acl.privilege_type, acl.grantee, acl.is_grantable, a.attname
                 from pg_attribute a cross join aclexplode(a.attacl) acl where a.attrelid = from_table loop
        execute format('grant %s (%I) on %s to %s%s', entry.privilege_type, entry.attname, to_table,
                       case entry.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(entry.grantee)) end,
                       case when entry.is_grantable then ' with grant option' else '' end);
    end loop;
    execute format('alter table %s enable row level security', to_table);
    for entry in select p.polname, p.polpermissive, p.polcmd, p.polroles,
                        pg_get_expr(p.polqual, p.polrelid) as qual,
                        pg_get_expr(p.polwithcheck, p.polrelid) as with_check
                 from pg_policy p where p.polrelid = from_table loop
        execute format(
            'create policy %I on %s as %s for %s to %s%s%s', entry.polname, to_table,
            case when entry.polpermissive then 'permissive' else 'restrictive' end,
            case entry.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                              when 'd' then 'delete' else 'all' end,
            (select string_agg(case r when 0 then 'public' else quote_ident(pg_get_userbyid(r)) end, ', ')
             from unnest(entry.polroles) r),
            ' using (' || entry.qual || ')', ' with check (' || entry.with_check || ')');
    end loop;
end
$$;
revoke execute on function copy_access(regclass, regclass) from public;

-- step: Attempts: what is there belongs to this month, whenever it was
-- The month stands for all rows there are without any being written. A daemon that goes on adds its own to them.
do $$
begin
    if (select relkind from pg_class where oid = 'call_attempts'::regclass) = 'r' then
        if not exists (select from pg_attribute where attrelid = 'call_attempts'::regclass and attname = 'month') then
            perform lock_out_vacuum('call_attempts');
            execute format('alter table call_attempts add column month date default %L',
                           date_trunc('month', now() at time zone 'UTC')::date);
        end if;
        if not exists (select from pg_constraint
                       where conrelid = 'call_attempts'::regclass and conname = 'call_attempts_month_check') then
            execute format('alter table call_attempts add constraint call_attempts_month_check
                                check (month is not null and month = %s) not valid',
                           (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d
                            join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                            where d.adrelid = 'call_attempts'::regclass and a.attname = 'month'));
        end if;
    end if;
end
$$;

-- step: Attempts: see that it is so, while calls go on
do $$
begin
    if (select relkind from pg_class where oid = 'call_attempts'::regclass) = 'r' then
        perform lock_out_vacuum('call_attempts');
        alter table call_attempts validate constraint call_attempts_month_check;
    end if;
end
$$;

-- step: Attempts: the table becomes the first month; calls work with a small table of their own
-- Attempts of calls under way are in call_attempts_recent, without a month, until their call is forgotten. A statement
-- of a call names that table: its plan knows one partition, whatever number of months there is.
do $$
declare
    this_month date;
    month_name text;
begin
    if (select relkind from pg_class where oid = 'call_attempts'::regclass) <> 'r' then
        return;
    end if;
    perform lock_out_vacuum('call_attempts');
    lock table call_attempts in access exclusive mode;
    execute 'select ' || (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d
                          join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                          where d.adrelid = 'call_attempts'::regclass and a.attname = 'month') into this_month;
    month_name := to_char(this_month, '"call_attempts_"YYYY_MM');
    execute format('alter table call_attempts rename to %I', month_name);
    execute format('alter index call_attempts_pkey rename to %I', month_name || '_pkey');
    execute format('create table call_attempts (like %I including defaults including constraints)
                        partition by list (month)', month_name);
    alter table call_attempts alter column month drop default, drop constraint call_attempts_month_check;
    perform copy_access(month_name::regclass, 'call_attempts');
    execute format('alter table call_attempts attach partition %I for values in (%L)', month_name, this_month);
    execute format('alter table %I alter column month drop default, drop constraint call_attempts_month_check',
                   month_name);
    execute format('revoke all on %I from public, capconduit_app, capconduit_api, capconduit_admin', month_name);

    create table call_attempts_recent (
        like call_attempts including defaults including constraints,
        primary key (call_id, attempt)
    ) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
    perform copy_access('call_attempts', 'call_attempts_recent');
    alter table call_attempts attach partition call_attempts_recent for values in (null);

    create table call_attempts_default (
        like call_attempts including defaults including constraints,
        primary key (call_id, attempt)
    );
    create index call_attempts_default_month_idx on call_attempts_default (month);
    alter table call_attempts_default enable row level security;
    alter table call_attempts attach partition call_attempts_default default;

    -- Attempts of calls under way come along.
    execute format(
        'with moved as (
             delete from %I a using calls c
             where c.uniqueid_under_way is not null and c.ended_at is null and a.call_id = c.call_id
             returning a.*)
         insert into call_attempts_recent (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id,
                                           offered_at, ring_timeout_seconds, answered_at, ended_at, outcome,
                                           dial_status, hangup_cause_code, recording_stem)
         select call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id, offered_at,
                ring_timeout_seconds, answered_at, ended_at, outcome, dial_status, hangup_cause_code, recording_stem
         from moved', month_name);
end
$$;

-- step: How decisions and the audit log are split, in three parts each
-- The month before which all rows of a table are: that of the CHECK.
create or replace function history_bound(of_table text) returns date
language sql stable set search_path = public, pg_temp set timezone = 'UTC' set datestyle = 'ISO' as $$
    select substring(pg_get_constraintdef(oid) from '''([0-9]{4}-[0-9]{2}-[0-9]{2})')::date from pg_constraint
    where conrelid = to_regclass(of_table) and conname = of_table || '_before_check'
$$;

-- First: a CHECK that all rows are before a month. It refuses rows of that month and later until the last part is done,
-- so the month is two to three months ahead, and is moved when this was broken off and is run again.
create or replace function bound_history(of_table text, time_column text) returns void
language plpgsql set search_path = public, pg_temp set timezone = 'UTC' as $$
declare
    bound date := date_trunc('month', now()) + interval '3 months';
begin
    if (select relkind from pg_class where oid = to_regclass(of_table)) <> 'r'
       or history_bound(of_table) > now() + interval '2 months' then
        return;
    end if;
    perform lock_out_vacuum(to_regclass(of_table));
    if history_bound(of_table) is not null then
        execute format('alter table %I drop constraint %I', of_table, of_table || '_before_check');
    end if;
    execute format('alter table %I add constraint %I check (%I < %L) not valid',
                   of_table, of_table || '_before_check', time_column, bound);
end
$$;

-- Second: it is seen to be so. That reads all rows and locks nobody out.
create or replace function prove_history(of_table text) returns void
language plpgsql set search_path = public, pg_temp set timezone = 'UTC' as $$
begin
    if (select relkind from pg_class where oid = to_regclass(of_table)) = 'r' then
        perform lock_out_vacuum(to_regclass(of_table));
        execute format('alter table %I validate constraint %I', of_table, of_table || '_before_check');
    end if;
exception when check_violation then
    raise exception '% has rows of the future, from % on', of_table, history_bound(of_table)
        using hint = 'Correct the time of these rows, or delete them, and run the migration again.';
end
$$;

-- Third: the table becomes the first partition, which reads nothing, thanks to the CHECK. An empty one is left out.
create or replace function split_history(of_table text, time_column text, id_column text) returns void
language plpgsql set search_path = public, pg_temp set timezone = 'UTC' as $$
declare
    bound date := history_bound(of_table);
    old_name text := of_table || to_char(bound, '"_until_"YYYY_MM');
    sequence_name text := of_table || '_' || id_column || '_seq';
    next_id bigint;
    is_empty boolean;
    own_index record;
    may_insert record;
begin
    if (select relkind from pg_class where oid = to_regclass(of_table)) <> 'r' then
        return;
    end if;
    perform lock_out_vacuum(to_regclass(of_table));
    execute format('lock table %I in access exclusive mode', of_table);
    execute format('select not exists (select from %I)', of_table) into is_empty;
    execute format('select case when is_called then last_value + 1 else last_value end from %I', sequence_name)
        into next_id;
    create temporary table indexes on commit drop as
        select c.relname as index_name, pg_get_indexdef(c.oid) as definition, i.indisprimary
        from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = to_regclass(of_table);
    execute format('alter table %I rename to %I', of_table, old_name);
    for own_index in select index_name from indexes loop
        execute format('alter index %I rename to %I', own_index.index_name,
                       replace(own_index.index_name, of_table, old_name));
    end loop;

    -- Identity columns of partitions differ between PostgreSQL 16 and 17; a default is the same in all of them.
    execute format('alter table %I alter column %I drop identity', old_name, id_column);
    execute format('create sequence %I as bigint start with %s', sequence_name, next_id);
    execute format('create table %I (like %I including defaults including constraints) partition by range (%I)',
                   of_table, old_name, time_column);
    execute format('alter table %I drop constraint %I, alter column %I set default nextval(%L)',
                   of_table, of_table || '_before_check', id_column, sequence_name);
    execute format('alter sequence %I owned by %I.%I', sequence_name, of_table, id_column);
    perform copy_access(to_regclass(old_name), to_regclass(of_table));
    for may_insert in select distinct pg_get_userbyid(acl.grantee) as role_name
                      from pg_class c cross join aclexplode(c.relacl) acl
                      where c.oid = to_regclass(of_table) and acl.privilege_type = 'INSERT' and acl.grantee <> 0 loop
        execute format('grant usage on sequence %I to %I', sequence_name, may_insert.role_name);
    end loop;
    for own_index in select definition from indexes where not indisprimary loop
        execute own_index.definition;
    end loop;

    if is_empty then
        execute format('drop table %I', old_name);
    else
        execute format('alter table %I attach partition %I for values from (minvalue) to (%L)',
                       of_table, old_name, bound);
        execute format('alter table %I drop constraint %I', old_name, of_table || '_before_check');
        execute format('revoke all on %I from public, capconduit_app, capconduit_api, capconduit_admin', old_name);
    end if;
    execute format('create table %I (like %I including all, primary key (%I))',
                   of_table || '_default', of_table, id_column);
    execute format('alter table %I enable row level security', of_table || '_default');
    execute format('alter table %I attach partition %I default', of_table, of_table || '_default');
    drop table indexes;
end
$$;
revoke execute on function history_bound(text), bound_history(text, text), prove_history(text),
    split_history(text, text, text) from public;

-- step: Decisions, first
select bound_history('decisions', 'decided_at');
-- step: Decisions, second
select prove_history('decisions');
-- step: Decisions, third
select split_history('decisions', 'decided_at', 'decision_id');
create index if not exists decisions_default_decided_at_idx on decisions_default (decided_at);

-- step: The audit log, first
select bound_history('audit_log', 'at');
-- step: The audit log, second
select prove_history('audit_log');
-- step: The audit log, third
select split_history('audit_log', 'at', 'audit_id');

-- step: The months to begin with
-- Of an empty database. Elsewhere rows of the next months have their place, and the daemon makes the months one by one.
select make_history_month(t.table_name, (date_trunc('month', now() at time zone 'UTC') + make_interval(months => n))::date)
from history_tables() t cross join generate_series(-1, 3) n
where not exists (select from call_logs);

-- step: What only the steps needed goes
drop function if exists copy_access(regclass, regclass), history_bound(text), bound_history(text, text),
    prove_history(text), split_history(text, text, text);
