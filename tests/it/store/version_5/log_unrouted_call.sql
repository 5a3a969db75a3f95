-- A call that ended without ever having reached `route` here (the daemon was away, the dialplan's
-- fallback carried it) gets its row all the same, once: not if a call with this unique id ($1) is in the
-- log. Returns no row either when the call came under way this moment: then it is to be settled.
with call as (
    insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, server_name, node_name, user_id,
                       did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
                       over_at, ended_at, expires_at)
    select $1::text, $2, $3, $4, $5, d.user_id, d.id, coalesce(d.number, $7), $8, $9, $10::timestamptz,
           $11::timestamptz, $11::timestamptz, $11::timestamptz
    from (select 1) one
    left join lateral (
        select id, user_id, number from dids where number = any ($6::text[])
        order by array_position($6::text[], number::text) limit 1) d on true
    where not exists (select from call_logs where asterisk_uniqueid = $1::text)
    on conflict (uniqueid_under_way) do nothing
    returning *
)
insert into call_logs (id, user_id, did_id, incoming_did_number, caller_id_num, caller_id_name,
                       timestamp_start, timestamp_answered, timestamp_end, duration_seconds,
                       billsec_seconds, call_status, hangup_cause_code, hangup_cause_text,
                       asterisk_uniqueid, asterisk_linkedid)
select call_id, user_id, did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
       $12::timestamptz, over_at, $13::int, $14::int, $15, $16::int, $17, asterisk_uniqueid,
       asterisk_linkedid
from call
returning id
