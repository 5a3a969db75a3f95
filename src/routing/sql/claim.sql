-- Takes a slot of a link for a call, or returns no row and changes nothing.
--
-- The guards stand in the rows that are locked: a claim that had to wait for another one sees what that
-- one left. Where the decision moves the turn ($23 is the new state), it must still be the one the decision
-- has seen ($24). The link's row is locked because answered calls are counted there. Rows are locked in
-- the order rotation, call, link, usage, as everywhere.
--
-- Two things make a claim too late: the call ended after the question was asked ($26), or its question was given up
-- meanwhile ($25). Both happen when something stood still and goes on. All times are the database's, $15 that of the
-- look.
-- When a slot is held and when it ends is told under the lock of its counter: so reservations say who held it at
-- which moment, however long a decision or a report was on its way.
-- $1 call to go on with, or null for a new one; $2 link, $3 attempt; $27 what the stem of a recording begins
-- with, or null where none is made. $28 what the Asterisk calls itself, $29 the server its address suggests, $30 the
-- daemon that sees its channel (on server $7), $31 when that was made, $32 the key to use instead of the unique id, $33 the call of
-- the same channel that ended for this one to begin.
with same_turn as materialized (
    select campaign_id from campaign_rotations
    where campaign_id = $10::int and turn = $24 and $23::jsonb is not null
    for update
), call_to_go_on as materialized (
    select call_id from calls
    where call_id = $1 and ended_at is null
      and ($23::jsonb is null or exists (select from same_turn))
    for update
), link as materialized (
    select id, max_concurrency, total_calls_allowed, current_total_calls
    from campaign_client_settings
    where id = $2 and status = 'active'
      and ($23::jsonb is null or exists (select from same_turn))
      and ($1::bigint is null or exists (select from call_to_go_on))
      and clock_timestamp() < $25::timestamptz
      and not exists (select from calls
                      where ended_at >= $26 and asterisk_uniqueid = $4::varchar and channel in ($6::varchar, '')
                        and call_id is distinct from $33::bigint)
    for no key update
), slot as (
    update link_usage u
    set held = u.held + 1
    from link l
    where u.link_id = l.id
      and u.held + u.confirmed < l.max_concurrency
      and (l.total_calls_allowed is null or l.current_total_calls + u.held < l.total_calls_allowed)
    returning u.link_id
), new_call as (
    insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, server_name, node_name, user_id,
                       campaign_id, did_id, incoming_did_number, caller_id_num, caller_id_name,
                       started_at, expires_at, system_name, likely_server_name, seen_by, channel_created_at,
                       uniqueid_key)
    select $4, $5, $6, $7, $8, $9::int, $10::int, $11::int, $12, $13, $14,
           $15::timestamptz, $15::timestamptz + make_interval(secs => $16), $28::text, $29::text, $30::text,
           $31::timestamptz, $32::varchar
    from slot
    where $1::bigint is null
    returning call_id
), reopened_call as (
    update calls set refused_at = null, refusal_reason = null
    where call_id = $1 and refused_at is not null and exists (select from slot)
), the_call as (
    select call_id from new_call
    union all
    select g.call_id from call_to_go_on g, slot
), reservation as (
    insert into reservations (call_id, attempt, link_id, user_id, node_name, state, held_at)
    select call_id, $3::int, $2, $9::int, $8, 'held', clock_timestamp() from the_call
    returning reservation_id, call_id
), attempt as (
    insert into call_attempts_recent (call_id, attempt, reservation_id, user_id, link_id, client_id,
                               endpoint_id, offered_at, ring_timeout_seconds, recording_stem)
    select call_id, $3::int, reservation_id, $9::int, $2, $17::int, $18, $15::timestamptz, $19::int,
           $27::text || '-' || call_id || '-' || $3::int
    from reservation
), decision as (
    insert into decisions (call_id, attempt, user_id, campaign_id, node_name, decided_at, verdict,
                           link_id, question, ranking, remarks)
    select call_id, $3::int, $9::int, $10::int, $8, $15::timestamptz, 'DIAL', $2, $20::jsonb, $21::jsonb,
           $22::text[]
    from reservation
), turn as (
    update campaign_rotations set state = $23::jsonb, turn = turn + 1
    where campaign_id = $10::int and $23::jsonb is not null and exists (select from reservation)
)
select call_id, reservation_id from reservation
