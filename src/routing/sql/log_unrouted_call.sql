-- A call that ended without ever having reached `route` here (the daemon was away, the dialplan's
-- fallback carried it) gets its row all the same, once: not if it is in the log or among the calls. Returns no row
-- either when the call came under way this moment: then it is to be settled.
--
-- It ended $10 seconds ago, lasted $11 seconds and talked for the last $12 of them (null: was not answered).
-- $1 unique id, $2 linked id, $3 channel, $4 server, $5 daemon, $6 the key of the number, $7 the number, $8 and $9 the
-- caller, $13 status, $14 and $15 cause, $16 what the Asterisk calls itself, $17 the key to use instead of the unique id.
-- $18 the reservation that the report names, if it does: a call that has it was routed. $19: the report was read after
-- whoever sent it had left, so that nobody knows when the call ended.
with times as materialized (
    select clock_timestamp() - make_interval(secs => $10) as ended_at,
           case when $12::float8 is not null then least($12, $11) end as talked
), call as (
    insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, server_name, node_name, user_id,
                       did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
                       over_at, ended_at, expires_at, system_name, uniqueid_key, end_reported)
    select $1::text, $2, $3::varchar, $4::text, $5, d.user_id, d.id, coalesce(d.number, $7), $8::text, $9,
           t.ended_at - make_interval(secs => $11), t.ended_at, t.ended_at, t.ended_at, $16::text, $17::varchar,
           true
    from times t
    left join lateral (
        select id, user_id, number from dids where did_key(number) = any ($6::text[]) limit 1) d on true
    where not exists (
        select from call_logs l
        left join calls c on c.call_id = l.id
        where l.asterisk_uniqueid = $1::text and (l.server_name is null or $4::text is null or l.server_name = $4)
          -- Without a system name another Asterisk's call may have the same unique id.
          -- A channel may come again after its call.
          and (l.timestamp_end is null or l.timestamp_end >= t.ended_at - make_interval(secs => $11 + 5) or $19::boolean
               or exists (select from call_attempts_recent a where a.call_id = l.id and a.reservation_id = $18::bigint))
          and ($16::text is not null or c.channel = $3::varchar or l.caller_id_num is not distinct from $8::text))
    on conflict (uniqueid_under_way) do nothing
    returning call_id, user_id, did_id, incoming_did_number, caller_id_num, caller_id_name, started_at, over_at,
              asterisk_uniqueid, asterisk_linkedid, server_name
)
insert into call_logs (id, user_id, did_id, incoming_did_number, caller_id_num, caller_id_name,
                       timestamp_start, timestamp_answered, timestamp_end, duration_seconds,
                       billsec_seconds, call_status, hangup_cause_code, hangup_cause_text,
                       asterisk_uniqueid, asterisk_linkedid, server_name)
select call_id, user_id, did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
       over_at - make_interval(secs => t.talked), over_at, floor($11)::int, coalesce(floor(t.talked), 0)::int,
       $13, $14::int, $15, asterisk_uniqueid, asterisk_linkedid, server_name
from call, times t
returning id
