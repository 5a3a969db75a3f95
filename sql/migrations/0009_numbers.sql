-- A DID is unique by its digits, however it is spelt; and a seller's claim of a number can wait for staff.
--
-- Locks: until this migration ends `dids` can be read, so calls are routed, but not written. Only the change of the status
-- needs the table alone, for a moment, and gives way to readers that are at work. Statements of older daemons go on
-- as they are.

-- What makes two spellings of a number the same: letters, digits, * and # count, everything else is decoration.
-- A prefix is not: 0018005550100 and 01118005550100 are other numbers than +18005550100, since what 00 or 011 means
-- depends on who dials. Null for a number without anything that counts; no call looks for one.
create function did_key(number text) returns text language sql immutable parallel safe
    return nullif(regexp_replace(number, '[^0-9A-Za-z*#]', '', 'g'), '');

do $$
declare
    shown text;
    newer text;
    doubles int;
begin
    -- Also keeps out those who lock a row now to write it later: the change of the status could never pass them.
    lock table dids in exclusive mode;
    begin
        create unique index dids_digits_key on dids (did_key(number));
    exception when unique_violation then
        -- Whose number it is, people must decide. Nothing is changed, and daemons that run go on.
        select string_agg(format('%s: %s', key, spelt), E'\n') filter (where place <= 20),
               string_agg(array_to_string(ids[2:], ', '), ', '), count(*)
        into shown, newer, doubles
        from (
            select did_key(number) as key, row_number() over (order by did_key(number)) as place,
                   string_agg(format('DID %s %L of user %s (%s)', id, number, user_id, status), ', '
                              order by created_at, id) as spelt,
                   array_agg(id order by created_at, id) as ids
            from dids
            group by did_key(number)
            having did_key(number) is not null and count(*) > 1
        ) d;
        raise exception '% number(s) stand in the table dids more than once, in different spellings', doubles
            using errcode = 'unique_violation',
                  detail = shown || case when doubles > 20 then E'\n…' else '' end,
                  hint = 'A number may be one DID only, else one seller gets calls of another. Decide which DID keeps '
                      || 'each number. This keeps the oldest; the others stay in the table, without calls and with '
                      || 'their id behind the number: update dids set status = ''inactive'', number = left(number, 38) '
                      || '|| '' x'' || id where id in (' || newer || '); Then run capconduit migrate again.';
    end;
end
$$;

-- The second wall behind the API: a seller does not confirm its own claim.
create function refuse_own_confirmation() returns trigger language plpgsql as $$
begin
    raise exception 'DID % is pending: only staff can confirm it', old.id using errcode = 'insufficient_privilege';
end
$$;
create trigger refuse_own_confirmation before update of status on dids for each row
    when (old.status = 'pending' and new.status <> 'pending' and current_user = 'capconduit_api')
    execute function refuse_own_confirmation();

-- `pending` is new. A value more: rows that are there need no look. Whoever waits for the table alone stops those who
-- come after, calls too: so it is tried for moments only.
do $$
begin
    for try in 1 .. 50 loop
        begin
            set local lock_timeout = '50ms';
            alter table dids drop constraint dids_status_check,
                add constraint dids_status_check check (status in ('active', 'inactive', 'pending')) not valid;
            exit;
        exception when lock_not_available then
            if try = 50 then
                raise exception 'the table dids is read without end, by a backup perhaps'
                    using errcode = 'lock_not_available', hint = 'Run capconduit migrate again when it is done.';
            end if;
        end;
        perform pg_sleep(0.05);
    end loop;
end
$$;

-- Staff lists the servers.
grant select on servers to capconduit_admin;
