-- Records a refusal: the decision, and the call's row in the log as it stands now. The call stays under
-- way until its end is reported or observed.
-- Refused too late, for a call that ended after the question was asked ($25) or when its question was given up
-- ($26), nothing is recorded.
-- $1 call to go on with, or null for a new one. $27 to $32 as $28 to $33 of the claim.
with call_to_go_on as (
    update calls set refused_at = $13::timestamptz, refusal_reason = $15
    where call_id = $1 and ended_at is null and clock_timestamp() < $26::timestamptz
    returning call_id, started_at
), new_call as (
    insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, server_name, node_name, user_id,
                       campaign_id, did_id, incoming_did_number, caller_id_num, caller_id_name,
                       started_at, expires_at, refused_at, refusal_reason, system_name, likely_server_name,
                       seen_by, channel_created_at, uniqueid_key)
    select $2, $3, $4, $5, $6, $7::int, $8::int, $9::int, $10, $11, $12,
           $13::timestamptz, $13::timestamptz + make_interval(secs => $14), $13::timestamptz, $15, $27::text, $28::text,
           $29::text, $30::timestamptz, $31::varchar
    where $1::bigint is null and clock_timestamp() < $26
      and not exists (select from calls
                      where ended_at >= $25 and asterisk_uniqueid = $2::varchar and channel in ($4::varchar, '')
                        and call_id is distinct from $32::bigint)
    returning call_id, started_at
), the_call as (
    select call_id, started_at from new_call
    union all
    select call_id, started_at from call_to_go_on
), decision as (
    insert into decisions (call_id, attempt, user_id, campaign_id, node_name, decided_at, verdict,
                           reason, question, ranking, remarks)
    select call_id, $16::int, $7::int, $8::int, $6, $13::timestamptz, 'REJECT', $15, $17::jsonb,
           $18::jsonb, $19::text[]
    from the_call
), log as (
    insert into call_logs (id, user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                           incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                           timestamp_end, duration_seconds, billsec_seconds, call_status,
                           hangup_cause_code, hangup_cause_text, asterisk_uniqueid, asterisk_linkedid,
                           refusal_reason, attempts)
    select call_id,
           (select id from users where id = $7::int), (select id from campaigns where id = $8::int),
           (select id from dids where id = $9::int), (select id from clients where id = $20::int),
           (select id from campaign_client_settings where id = $21::int),
           $10, $11, $12, started_at, $13::timestamptz,
           greatest(0, floor(extract(epoch from $13::timestamptz - started_at)))::int, 0, $22,
           $23::int, $24, $2, $3, $15, $16::int - 1
    from the_call
    on conflict (id, timestamp_start) do update
    set timestamp_end = excluded.timestamp_end, duration_seconds = excluded.duration_seconds,
        client_id = excluded.client_id,
        campaign_client_setting_id = excluded.campaign_client_setting_id,
        call_status = excluded.call_status, hangup_cause_code = excluded.hangup_cause_code,
        hangup_cause_text = excluded.hangup_cause_text, refusal_reason = excluded.refusal_reason,
        attempts = excluded.attempts
)
select call_id from the_call
