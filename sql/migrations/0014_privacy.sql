-- Erasure of callers and sellers, and who may see the numbers of callers.
--
-- An erasure is a job of the daemon, in steps of some thousand rows each, because rows of history are never changed by
-- one statement. The request keeps no number: the job compares keyed hashes of digits. The key is random, of this one
-- erasure, and is deleted with its end: from then on nobody can compute which number was meant.

-- step: Who may see callers' numbers and names
alter table users add column if not exists callers_shown boolean not null default true;
grant select (callers_shown) on users to capconduit_api;

-- step: Requests
create table if not exists erasures (
    erasure_id bigint generated always as identity primary key,
    kind text not null,
    -- The account that is erased; null for a caller. No owner: sellers do not see these.
    account_id int,
    -- What stands in place of the number, or of the account's name.
    pseudonym text not null,
    dry_run boolean not null,
    reason text not null,
    requested_by int,
    created_at timestamptz not null default now(),
    state text not null default 'queued',
    started_at timestamptz,
    finished_at timestamptz,
    not_before timestamptz not null default now(),
    -- A running job belongs to whoever has its lease: `attempts` is the number of the lease.
    attempts int not null default 0,
    node_name text,
    lease_expires_at timestamptz,
    error text,
    -- Where the work stands: the tables are read again until a pass finds nothing.
    pass int not null default 1,
    place text not null default '',
    leaf text not null default '',
    block bigint not null default 0,
    found_in_pass bigint not null default 0,
    -- Rows changed, or found by a dry run, by table.
    counts jsonb not null default '{}',
    waits_for text,
    recordings_deleted bigint not null default 0,
    recordings_left bigint not null default 0,
    recordings_held bigint[] not null default '{}',
    constraint erasures_check check (
        kind in ('caller', 'seller') and (kind = 'seller') = (account_id is not null)
        and case state
            when 'queued' then finished_at is null and lease_expires_at is null
            when 'waiting' then finished_at is null and lease_expires_at is null and waits_for is not null
            when 'running' then lease_expires_at is not null and node_name is not null
            when 'done' then finished_at is not null and lease_expires_at is null
            else false
        end)
);
create index if not exists erasures_open_idx on erasures (not_before) where state <> 'done';

-- The key of an erasure under way, and with it the hashes of each spelling of the digits. Deleted with its end.
create table if not exists erasure_keys (
    erasure_id bigint primary key references erasures on delete cascade,
    key bytea not null,
    hashes bytea[] not null,
    lengths int[] not null
);

-- The calls of the caller that were found, while the erasure is under way.
create table if not exists erasure_calls (
    erasure_id bigint not null references erasures on delete cascade,
    of_call bigint not null,
    primary key (erasure_id, of_call)
);

-- Where numbers and names of callers may stand. A new table that holds some gets its rows here:
--   number  a number, replaced when it is the one
--   name    of the caller whose number stands in the same row; emptied
--   text, texts, json, bytes  anything else: numbers in it are replaced
create table if not exists erasure_places (
    table_name text not null,
    column_name text not null,
    holds text not null,
    primary key (table_name, column_name),
    constraint erasure_places_holds_check check (holds in ('number', 'name', 'text', 'texts', 'json', 'bytes'))
);
insert into erasure_places (table_name, column_name, holds)
values ('audit_log', 'before', 'json'), ('audit_log', 'after', 'json'), ('audit_log', 'reason', 'text'),
       ('audit_log', 'object_id', 'text'),
       ('call_logs', 'caller_id_num', 'number'), ('call_logs', 'caller_id_name', 'name'),
       ('calls', 'caller_id_num', 'number'), ('calls', 'caller_id_name', 'name'), ('calls', 'channel', 'text'),
       ('campaigns', 'description', 'text'), ('clients', 'notes', 'text'), ('dids', 'description', 'text'),
       ('erasures', 'reason', 'text'),
       ('idempotency_keys', 'body', 'bytes'), ('idempotency_keys', 'headers', 'json'),
       ('recordings', 'hold_reason', 'text'), ('recordings', 'remark', 'text'),
       ('security_events', 'detail', 'json'), ('security_events', 'object_id', 'text')
on conflict do nothing;

alter table erasures enable row level security;
alter table erasure_keys enable row level security;
alter table erasure_calls enable row level security;
alter table erasure_places enable row level security;
do $$
begin
    if not exists (select from pg_policy where polrelid = 'erasures'::regclass) then
        create policy daemon on erasures to capconduit_app using (true) with check (true);
        create policy operator on erasures to capconduit_admin using (true) with check (true);
        -- Administrators make keys, and only the daemon's functions read them.
        create policy operator on erasure_keys to capconduit_admin using (true) with check (true);
    end if;
end
$$;
grant select, update on erasures to capconduit_app;
grant select, insert on erasures to capconduit_admin;
grant insert on erasure_keys to capconduit_admin;

-- step: What the job looks for
-- A keyed hash, as the daemon computes it. Hashed twice, so that nothing can be appended to what was hashed.
create or replace function erasure_hash(key bytea, digits text) returns bytea
language sql immutable parallel safe as
    $$ select sha256(key || sha256(key || convert_to(digits, 'UTF8'))) $$;

-- The numbers in a text that are meant: digits, with blanks, dots, dashes, slashes and parentheses between them.
create or replace function erasure_finds(value text, key bytea, hashes bytea[], lengths int[]) returns text[]
language plpgsql immutable parallel safe set search_path = public, pg_temp as $$
declare
    run text;
    digits text;
    width int;
    part text;
    found text[] := '{}';
begin
    for run in select m[1] from regexp_matches(value, '([0-9](?:[ ().\u00a0/-]{0,3}[0-9]){4,})', 'g') m loop
        digits := regexp_replace(run, '[^0-9]', '', 'g');
        foreach width in array lengths loop
            for start in 1 .. length(digits) - width + 1 loop
                part := substr(digits, start, width);
                if erasure_hash(key, part) = any (hashes) and part <> all (found) then
                    found := found || part;
                end if;
            end loop;
        end loop;
    end loop;
    return found;
end
$$;

-- Whether a number is meant, however it is spelt.
create or replace function erasure_meets(value text, key bytea, hashes bytea[], lengths int[]) returns boolean
language plpgsql immutable parallel safe set search_path = public, pg_temp as $$
declare
    digits text := regexp_replace(value, '[^0-9]', '', 'g');
begin
    if value is null then
        return false;
    end if;
    if length(digits) = any (lengths) and erasure_hash(key, digits) = any (hashes) then
        return true;
    end if;
    -- An address, or a number with something behind it.
    return value ~ '[A-Za-z@;,]' and cardinality(erasure_finds(value, key, hashes, lengths)) > 0;
end
$$;

-- A text with the pseudonym in place of the number.
create or replace function erasure_without(value text, key bytea, hashes bytea[], lengths int[], pseudonym text)
returns text language plpgsql immutable parallel safe set search_path = public, pg_temp as $$
declare
    digits text;
begin
    -- The longest first: it may contain another spelling.
    for digits in select f from unnest(erasure_finds(value, key, hashes, lengths)) f order by length(f) desc loop
        value := regexp_replace(
            value,
            '(?<![0-9])[+]?' || array_to_string(string_to_array(digits, null), '[ ().\u00a0/-]{0,3}') || '(?![0-9])',
            pseudonym, 'g');
    end loop;
    return value;
end
$$;

-- The same of a document, with the caller's name beside it emptied. One that would be none any more goes whole.
create or replace function erasure_without(value jsonb, key bytea, hashes bytea[], lengths int[], pseudonym text)
returns jsonb language plpgsql immutable parallel safe set search_path = public, pg_temp as $$
declare
    before text := value::text;
    after text := erasure_without(before, key, hashes, lengths, pseudonym);
begin
    if after is not distinct from before then
        return value;
    end if;
    return regexp_replace(after, '"(caller_?(?:id_?)?name)": "(?:[^"\\]|\\.)*"', '"\1": null', 'gi')::jsonb;
exception when invalid_text_representation then
    return '{"erased": true}';
end
$$;

create or replace function erasure_without(value text[], key bytea, hashes bytea[], lengths int[], pseudonym text)
returns text[] language sql immutable parallel safe set search_path = public, pg_temp as
    $$ select case when value is null then null else coalesce(array_agg(
           erasure_without(one, key, hashes, lengths, pseudonym) order by place), '{}') end
       from unnest(value) with ordinality u (one, place) $$;

-- Of an answer that was kept: JSON, as bytes. What is no text holds no number in words.
create or replace function erasure_without(value bytea, key bytea, hashes bytea[], lengths int[], pseudonym text)
returns bytea language plpgsql immutable parallel safe set search_path = public, pg_temp as $$
declare
    before text := convert_from(value, 'UTF8');
    after text := erasure_without(before, key, hashes, lengths, pseudonym);
begin
    if after is not distinct from before then
        return value;
    end if;
    after := regexp_replace(after, '"(caller_?(?:id_?)?name)": ?"(?:[^"\\]|\\.)*"', '"\1":null', 'gi');
    return convert_to(after, 'UTF8');
exception when character_not_in_repertoire or untranslatable_character then
    return value;
end
$$;

-- What stands in place of any number of a seller's callers.
create or replace function erasure_pseudonym(value text, key bytea) returns text
language sql immutable parallel safe set search_path = public, pg_temp as
    $$ select case when value is null or value like 'erased-%' then value
              else 'erased-' || left(encode(erasure_hash(key,
                   coalesce(nullif(regexp_replace(value, '[^0-9]', '', 'g'), ''), value)), 'hex'), 16) end $$;

-- Whether the name of a channel may say who called: `Local/14155550001@in-00000001;1` does, `PJSIP/trunk-0000abcd` does
-- not. Asterisk's own eight digits at the end say nothing.
create or replace function erasure_channel_tells(channel text) returns boolean
language sql immutable parallel safe as
    $$ select regexp_replace(channel, '-[0-9a-f]{8}(;[12])?$', '') ~ '[0-9]([ ().\u00a0/-]{0,3}[0-9]){4,}' $$;

-- step: How the job works
-- Which rows of a table are meant and how they are changed, in SQL: $1 the rows (or the account), $2 key, $3 hashes,
-- $4 lengths, $5 pseudonym, $6 account. `is_over` says which of them may be changed already, and `began_at` names the
-- column that tells which of the others are waited for; null: there is nothing to wait for. No `is_meant`: nothing of this
-- table.
--
-- A report of an end may come twice. What it is told by, where Asterisks have no system name, is the channel in `calls`, or
-- the caller's number in the log: so a call that ended this minute is left alone, and the name of a channel stays, but for
-- those that tell a number. Those are told by it as long as `calls` keeps ended calls (house.rs), and then erased.
create or replace function erasure_changes(of_kind text, of_table text)
returns table (is_meant text, change text, call_column text, is_over text, began_at text)
language plpgsql stable set search_path = public, pg_temp as $$
declare
    column_place record;
    called text;
    number_is_meant text;
    channel_is_meant text;
begin
    call_column := case of_table when 'call_logs' then 'id' when 'calls' then 'call_id' end;
    if of_kind = 'seller' then
        if of_table in ('call_logs', 'calls') then
            channel_is_meant := case of_table when 'calls' then 'erasure_channel_tells(channel)' end;
            is_meant := 'user_id = $6 and (caller_id_name is not null or caller_id_num not like ''erased-%'' '
                        'or incoming_did_number not like ''erased-%''' || coalesce(' or ' || channel_is_meant, '') || ')';
            change := 'caller_id_num = erasure_pseudonym(caller_id_num, $2), caller_id_name = null, '
                      'incoming_did_number = erasure_pseudonym(incoming_did_number, $2)'
                      || coalesce(', channel = case when ' || channel_is_meant || ' then ''erased'' else channel end', '');
        elsif of_table = 'audit_log' then
            is_meant := '((user_id = $6 or object_type = ''user'' and object_id = $6::text) '
                        'and (after is not null or before is distinct from ''{"erased": true}''::jsonb) '
                        'or object_type = ''user'' and object_id = $6::text and reason is not null '
                        'or actor_id = $6 and (actor <> $5 or address is not null))';
            change := 'before = case when user_id = $6 or object_type = ''user'' and object_id = $6::text '
                      'then ''{"erased": true}''::jsonb else before end, '
                      'after = case when user_id = $6 or object_type = ''user'' and object_id = $6::text '
                      'then null else after end, '
                      'reason = case when object_type = ''user'' and object_id = $6::text then null else reason end, '
                      'actor = case when actor_id = $6 then $5 else actor end, '
                      'address = case when actor_id = $6 then null else address end';
        elsif of_table = 'security_events' then
            is_meant := '(user_id = $6 or actor_id = $6 or object_type = ''user'' and object_id = $6::text) '
                        'and (detail is not null '
                        'or actor_id = $6 and (actor <> $5 or address is not null or user_agent is not null))';
            change := 'detail = null, '
                      'actor = case when actor_id = $6 then $5 else actor end, '
                      'address = case when actor_id = $6 then null else address end, '
                      'user_agent = case when actor_id = $6 then null else user_agent end';
        elsif of_table = 'decisions' then
            is_meant := 'user_id = $6 and (question is not null or ranking is not null or remarks <> ''{}'')';
            change := 'question = null, ranking = null, remarks = ''{}''';
        elsif of_table = 'recordings' then
            is_meant := 'user_id = $6 and remark is not null';
            change := 'remark = null';
        end if;
    else
        for column_place in
            select p.column_name, p.holds,
                   case when a.atttypid = 'varchar'::regtype and a.atttypmod > 4 then a.atttypmod - 4 end as width
            from erasure_places p
            join pg_attribute a on a.attrelid = to_regclass(p.table_name) and a.attname = p.column_name
                               and not a.attisdropped
            where p.table_name = of_table
            order by p.holds = 'name', p.column_name
        loop
            called := format('erasure_without(%I%s, $2, $3, $4, $5)', column_place.column_name,
                             case column_place.holds when 'text' then '::text' else '' end);
            if column_place.holds = 'number' then
                number_is_meant := format('erasure_meets(%I, $2, $3, $4)', column_place.column_name);
                is_meant := concat_ws(' or ', is_meant, number_is_meant);
                change := concat_ws(', ', change, format('%1$I = case when %2$s then $5 else %1$I end',
                                                         column_place.column_name, number_is_meant));
            elsif column_place.holds = 'name' then
                change := concat_ws(', ', change, format('%1$I = case when %2$s then null else %1$I end',
                                                         column_place.column_name, coalesce(number_is_meant, 'true')));
            else
                is_meant := concat_ws(' or ', is_meant,
                                      format('%s is distinct from %I', called, column_place.column_name));
                if of_table = 'calls' and column_place.column_name = 'channel' then
                    channel_is_meant := format('%s is distinct from channel', called);
                end if;
                -- A pseudonym may be longer than a number, and a column has its width.
                change := concat_ws(', ', change, format('%I = %s', column_place.column_name,
                                                         case when column_place.width is null then called
                                                         else format('left(%s, %s)', called, column_place.width) end));
            end if;
        end loop;
        is_meant := '(' || is_meant || ')';
    end if;
    if of_table = 'calls' then
        is_over := 'coalesce(ended_at < now() - case when ' || coalesce(channel_is_meant, 'false') || ' then interval ''2 hours'' '
                   'else interval ''1 minute'' end, false)';
        began_at := 'started_at';
    elsif of_table = 'call_logs' then
        is_over := 'coalesce(timestamp_end not between now() - interval ''1 minute'' and now() + interval ''1 minute'', '
                   'true)';
        began_at := 'timestamp_start';
    else
        is_over := 'true';
    end if;
    return next;
end
$$;

-- The tables, and parts of tables, that an erasure reads, in their order.
create or replace function erasure_leaves(of_kind text) returns table (place text, leaf text)
language sql stable set search_path = public, pg_temp as $$
    select t.table_name, p.leaf
    from (
        select distinct table_name from erasure_places where of_kind = 'caller'
        union select unnest(array['audit_log', 'call_logs', 'calls', 'decisions', 'recordings',
                                                     'security_events']) where of_kind = 'seller'
    ) t
    cross join lateral (
        select r.relid::text from pg_partition_tree(to_regclass(t.table_name)) r where r.isleaf
        union all
        select c.oid::regclass::text from pg_class c where c.oid = to_regclass(t.table_name) and c.relkind = 'r'
    ) p (leaf)
    order by t.table_name collate "C", p.leaf collate "C"
$$;

-- Gives the erasure that waits longest to a daemon, for a while. What another daemon is just taking is passed over.
create or replace function claim_erasure(of_node text, lease_seconds double precision)
returns table (erasure_id bigint, attempt int, is_seller boolean)
language sql security definer set search_path = public, pg_temp as $$
    update erasures e
    set state = 'running', attempts = e.attempts + 1, node_name = of_node, waits_for = null,
        started_at = coalesce(e.started_at, now()), lease_expires_at = now() + make_interval(secs => lease_seconds)
    where e.erasure_id = (
        select f.erasure_id from erasures f
        where f.state in ('queued', 'waiting') and f.not_before <= now()
           or f.state = 'running' and f.lease_expires_at < now()
        order by f.not_before limit 1 for update skip locked)
    returning e.erasure_id, e.attempts, e.kind = 'seller'
$$;

-- Reads the next few blocks of what there is to read, changes what is meant, and notes how far it is, all in one
-- transaction: broken off at any moment it goes on there. Says `more`, `end` (of the pass) or `lost` (the lease).
create or replace function erasure_step(of_erasure bigint, of_node text, of_attempt int,
                                        lease_seconds double precision, most_blocks int)
returns text language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '200ms' set timezone = 'UTC' set enable_seqscan = off as $$
declare
    e erasures;
    k erasure_keys;
    what record;
    blocks bigint;
    meant tid[];
    found_calls bigint[];
    found_rows bigint := 0;
    waiting_rows bigint := 0;
    next_place text;
    next_leaf text;
begin
    select * into e from erasures x
    where x.erasure_id = of_erasure and x.node_name = of_node and x.attempts = of_attempt and x.state = 'running'
    for update;
    if not found then
        return 'lost';
    end if;
    select * into strict k from erasure_keys x where x.erasure_id = of_erasure;
    -- What arrives late gets an id above this one.
    if e.late_above is null then
        update erasures set late_above = newest_call() where erasure_id = of_erasure;
    end if;
    loop
        blocks := 0;
        if e.leaf <> '' and to_regclass(e.leaf) is not null then
            blocks := pg_relation_size(e.leaf::regclass) / current_setting('block_size')::int;
        end if;
        exit when e.block < blocks;
        select l.place, l.leaf into next_place, next_leaf from erasure_leaves(e.kind) l
        where (l.place collate "C", l.leaf collate "C") > (e.place, e.leaf)
        limit 1;
        if next_place is null then
            update erasures set lease_expires_at = now() + make_interval(secs => lease_seconds)
            where erasure_id = of_erasure;
            return 'end';
        end if;
        e.place := next_place;
        e.leaf := next_leaf;
        e.block := 0;
    end loop;

    select * into what from erasure_changes(e.kind, e.place);
    if what.is_meant is not null then
        execute format('select array_agg(ctid) filter (where %1$s), count(*) filter (where not %1$s and %2$s < $8) '
                       'from %3$s where ctid >= $1 and ctid < $7 and (%4$s)',
                       what.is_over, coalesce(what.began_at, 'null::timestamptz'), e.leaf, what.is_meant)
            into meant, waiting_rows
            using format('(%s,0)', e.block)::tid, k.key, k.hashes, k.lengths, e.pseudonym, e.account_id,
                  format('(%s,0)', e.block + most_blocks)::tid, e.created_at;
    end if;
    if meant is not null then
        if what.call_column is not null and e.kind = 'caller' then
            execute format('select array_agg(%I) from %s where ctid = any ($1)', what.call_column, e.leaf)
                into found_calls using meant;
            insert into erasure_calls (erasure_id, of_call)
            select of_erasure, c from unnest(found_calls) c on conflict do nothing;
        end if;
        if e.dry_run then
            found_rows := cardinality(meant);
        else
            execute format('update %s set %s where ctid = any ($1) and (%s)', e.leaf, what.change, what.is_meant)
                using meant, k.key, k.hashes, k.lengths, e.pseudonym, e.account_id;
            get diagnostics found_rows = row_count;
        end if;
    end if;
    update erasures
    set place = e.place, leaf = e.leaf, block = e.block + most_blocks,
        found_in_pass = found_in_pass + found_rows, waiting_in_pass = waiting_in_pass + waiting_rows,
        counts = case when found_rows = 0 then counts
                 else jsonb_set(counts, array[e.place],
                                to_jsonb(coalesce((counts ->> e.place)::bigint, 0) + found_rows)) end,
        lease_expires_at = now() + make_interval(secs => lease_seconds)
    where erasure_id = of_erasure;
    -- Decisions are found by their call: nothing else leads to a caller.
    if found_calls is not null then
        perform erase_decisions(of_erasure, found_calls);
    end if;
    return 'more';
end
$$;

-- What the decisions on these calls hold of the number.
create or replace function erase_decisions(of_erasure bigint, of_calls bigint[]) returns void
language plpgsql set search_path = public, pg_temp as $$
declare
    e erasures;
    k erasure_keys;
    found_rows bigint;
begin
    select * into strict e from erasures x where x.erasure_id = of_erasure;
    select * into strict k from erasure_keys x where x.erasure_id = of_erasure;
    if e.dry_run then
        select count(*) into found_rows from decisions d
        where d.call_id = any (of_calls)
          and (erasure_without(d.question, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.question
               or erasure_without(d.ranking, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.ranking
               or erasure_without(d.remarks, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.remarks);
    else
        update decisions d
        set question = erasure_without(d.question, k.key, k.hashes, k.lengths, e.pseudonym),
            ranking = erasure_without(d.ranking, k.key, k.hashes, k.lengths, e.pseudonym),
            remarks = erasure_without(d.remarks, k.key, k.hashes, k.lengths, e.pseudonym)
        where d.call_id = any (of_calls)
          and (erasure_without(d.question, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.question
               or erasure_without(d.ranking, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.ranking
               or erasure_without(d.remarks, k.key, k.hashes, k.lengths, e.pseudonym) is distinct from d.remarks);
        get diagnostics found_rows = row_count;
    end if;
    if found_rows > 0 then
        update erasures
        set counts = jsonb_set(counts, '{decisions}',
                               to_jsonb(coalesce((counts ->> 'decisions')::bigint, 0) + found_rows))
        where erasure_id = of_erasure;
    end if;
end
$$;

-- The account of a seller: what lets in, its DIDs, its names. Once done nothing is left to do.
create or replace function erase_account(of_account int, pseudonym text) returns bigint
language plpgsql set search_path = public, pg_temp set lock_timeout = '200ms' as $$
declare
    found_rows bigint;
    of_table text;
    all_rows bigint := 0;
begin
    -- Somebody has that name or address already: another is taken, and with it all is read once more.
    if exists (select from users where id <> of_account
                                   and (lower(username) = pseudonym or lower(email) = pseudonym || '@erased.invalid')) then
        update erasures e
        set pseudonym = 'erased-' || of_account || '-' || substr(md5(gen_random_uuid()::text), 1, 8),
            found_in_pass = e.found_in_pass + 1
        where e.account_id = of_account and not e.dry_run and e.state = 'running';
        return 1;
    end if;
    foreach of_table in array array['sessions', 'api_keys', 'idempotency_keys', 'totp_secrets', 'recovery_codes',
                                    'login_devices', 'client_grants'] loop
        execute format('delete from %I where user_id = $1', of_table) using of_account;
        get diagnostics found_rows = row_count;
        all_rows := all_rows + found_rows;
    end loop;
    -- The number is nobody's any more. What is on its way may still name it: it is known again by its hash.
    with gone as (
        delete from dids where id in (select id from dids where user_id = of_account order by id limit 500)
        returning regexp_replace(did_key(number), '[^0-9]', '', 'g') as digits
    ), noted as (
        update erasure_keys k
        set hashes = k.hashes || (select array_agg(erasure_hash(k.key, g.digits)) from gone g where g.digits <> ''),
            lengths = array(select unnest(k.lengths) union select length(g.digits) from gone g where g.digits <> '')
        where exists (select from gone)
          and k.erasure_id = (select e.erasure_id from erasures e
                              where e.account_id = of_account and not e.dry_run and e.state = 'running')
    )
    select count(*) into found_rows from gone;
    all_rows := all_rows + found_rows;
    -- A campaign may have been named as another one's is going to be.
    update campaigns c
    set description = null, status = 'inactive',
        name = case when exists (select from campaigns o
                                 where o.user_id = of_account and o.id <> c.id and o.name = 'erased-' || c.id)
               then 'erased-' || c.id || '-' || substr(md5(gen_random_uuid()::text), 1, 8) else 'erased-' || c.id end
    where c.user_id = of_account
      and (c.name !~ ('^erased-' || c.id || '(-[0-9a-f]{8})?$') or c.description is not null or c.status <> 'inactive');
    get diagnostics found_rows = row_count;
    all_rows := all_rows + found_rows;
    update users
    set username = pseudonym, email = pseudonym || '@erased.invalid', full_name = null, company_name = null,
        password_hash = '!', updated_at = now()
    where id = of_account and username <> pseudonym;
    get diagnostics found_rows = row_count;
    return all_rows + found_rows;
end
$$;

-- What follows a pass: the account, recordings, another pass if anything was found or is to come, the end. Says `more`
-- (call again), `again` (another pass), `waiting`, `done` or `lost`.
create or replace function erasure_end_pass(of_erasure bigint, of_node text, of_attempt int, wait_seconds double precision)
returns text language plpgsql security definer
set search_path = public, pg_temp set lock_timeout = '200ms' set timezone = 'UTC' set enable_seqscan = off as $$
declare
    e erasures;
    k erasure_keys;
    found_rows bigint := 0;
    remaining bigint;
    next_state text;
begin
    select * into e from erasures x
    where x.erasure_id = of_erasure and x.node_name = of_node and x.attempts = of_attempt and x.state = 'running'
    for update;
    if not found then
        return 'lost';
    end if;
    select * into strict k from erasure_keys x where x.erasure_id = of_erasure;

    if e.kind = 'seller' and not e.dry_run then
        found_rows := erase_account(e.account_id, e.pseudonym);
        if found_rows > 0 then
            update erasures
            set counts = jsonb_set(counts, '{account}',
                                   to_jsonb(coalesce((counts ->> 'account')::bigint, 0) + found_rows))
            where erasure_id = of_erasure;
            return 'more';
        end if;
    end if;

    -- Files, transcript and job of a recording go with it; a held one goes when it is held no more.
    if not e.dry_run then
        update recordings r set delete_after = now()
        where r.recording_id in (
            select o.recording_id from recordings o
            where (e.kind = 'seller' and o.user_id = e.account_id
                   or e.kind = 'caller' and o.call_id in (select c.of_call from erasure_calls c
                                                          where c.erasure_id = of_erasure))
              and o.state <> 'deleted' and (o.delete_after is null or o.delete_after > now())
            limit 1000)
          and r.state <> 'deleted';
        get diagnostics found_rows = row_count;
        if found_rows > 0 then
            return 'more';
        end if;
    end if;
    update erasures
    set (recordings_deleted, recordings_left, recordings_held) = (
        select count(*) filter (where r.state = 'deleted'),
               count(*) filter (where r.state <> 'deleted' and r.hold_reason is null),
               coalesce((array_agg(r.recording_id order by r.recording_id)
                         filter (where r.state <> 'deleted' and r.hold_reason is not null))[:1000], '{}')
        from recordings r
        where e.kind = 'seller' and r.user_id = e.account_id
           or e.kind = 'caller' and r.call_id in (select c.of_call from erasure_calls c where c.erasure_id = of_erasure))
    where erasure_id = of_erasure
    returning recordings_left into remaining;

    if e.dry_run or (e.found_in_pass = 0 and e.waiting_in_pass = 0 and remaining = 0) then
        -- Answers that were kept name the request, and with it a hash of the body that held the number.
        if e.kind = 'caller' then
            delete from idempotency_keys i
            where i.created_at >= e.created_at - interval '1 hour'
              and position(convert_to(e.pseudonym, 'UTF8') in i.body) > 0;
        end if;
        -- The key stays as long as ends of calls may be on their way: see erase_late().
        if e.dry_run then
            delete from erasure_keys where erasure_id = of_erasure;
        end if;
        delete from erasure_calls where erasure_id = of_erasure;
        update erasures
        set state = 'done', finished_at = now(), lease_expires_at = null, waits_for = null, error = null,
            place = '', leaf = '', block = 0,
            watched_until = case when not e.dry_run then now() + interval '48 hours' end,
            look_at = case when not e.dry_run then now() + interval '10 minutes' end
        where erasure_id = of_erasure;
        return 'done';
    end if;
    next_state := case when e.waiting_in_pass > 0 or e.found_in_pass = 0 then 'waiting' else 'running' end;
    update erasures
    set pass = pass + (next_state = 'running')::int, waiting_in_pass = 0,
        state = next_state,
        waits_for = case when next_state = 'waiting'
                    then case when e.waiting_in_pass > 0 then 'calls' else 'recordings' end end,
        not_before = now() + make_interval(secs => case when next_state = 'waiting' then wait_seconds else 0 end),
        lease_expires_at = case when next_state = 'running' then lease_expires_at end,
        -- Who waits for calls looks at those alone, and reads everything again when there is none. Who waits for
        -- recordings reads nothing again.
        found_in_pass = (e.waiting_in_pass > 0)::int,
        place = case when e.waiting_in_pass > 0 then 'call_logs' when e.found_in_pass > 0 then '' else e.place end,
        leaf = case when e.waiting_in_pass > 0 then 'zzzz' when e.found_in_pass > 0 then '' else e.leaf end,
        block = case when e.found_in_pass > 0 or e.waiting_in_pass > 0 then 0 else e.block end
    where erasure_id = of_erasure;
    return case next_state when 'waiting' then 'waiting' else 'again' end;
end
$$;

revoke execute on function erasure_hash(bytea, text), erasure_finds(text, bytea, bytea[], int[]),
    erasure_meets(text, bytea, bytea[], int[]), erasure_without(text, bytea, bytea[], int[], text),
    erasure_without(jsonb, bytea, bytea[], int[], text), erasure_without(text[], bytea, bytea[], int[], text),
    erasure_without(bytea, bytea, bytea[], int[], text), erasure_pseudonym(text, bytea),
    erasure_channel_tells(text), erasure_changes(text, text), erasure_leaves(text), claim_erasure(text, double precision),
    erasure_step(bigint, text, int, double precision, int), erase_decisions(bigint, bigint[]),
    erase_account(int, text), erasure_end_pass(bigint, text, int, double precision)
    from public;
grant execute on function claim_erasure(text, double precision),
    erasure_step(bigint, text, int, double precision, int),
    erasure_end_pass(bigint, text, int, double precision)
    to capconduit_app;
