-- A record from outside, and one answered call more on the link $7 if one is given. The unique id $1 must be
-- locked. Nothing is written, and the answer tells why, if a call with this id is in the log or under way here, if
-- something it names does not exist, or if what it names belongs to different sellers or campaigns.
-- $2 linked id; $3 seller, $4 campaign, $5 DID, $6 client; $8 dialled number; $9 and $10 the caller's number and
-- name; $11 start, $12 answer, $13 end; $14 duration, $15 answered seconds; $16 status; $17 cause, $18 its text.
with found as materialized (
    select exists (select from call_logs where asterisk_uniqueid = $1::varchar) as logged,
           exists (select from calls where uniqueid_under_way = $1::varchar) as under_way,
           $3::int is null or exists (select from users where id = $3) as user_known,
           $4::int is null or c.id is not null as campaign_known,
           $5::int is null or d.id is not null as did_known,
           $6::int is null or exists (select from clients where id = $6) as client_known,
           $7::int is null or s.id is not null as link_known,
           coalesce(c.user_id = $3, true) as campaign_fits,
           coalesce(d.user_id = coalesce($3, c.user_id), true) as did_fits,
           coalesce(s.campaign_id = $4, true) and coalesce(sc.user_id = coalesce($3, d.user_id), true) as link_fits
    from (select) one
    left join campaigns c on c.id = $4
    left join dids d on d.id = $5
    left join campaign_client_settings s on s.id = $7
    left join campaigns sc on sc.id = s.campaign_id
), sound as materialized (
    select 1 as one from found
    where not logged and not under_way and user_known and campaign_known and did_known and client_known
      and link_known and campaign_fits and did_fits and link_fits
), counted as (
    update campaign_client_settings s set current_total_calls = s.current_total_calls + 1
    where s.id = $7 and s.current_total_calls < 2147483647 and exists (select from sound)
    returning s.id
), record as (
    insert into call_logs (user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                           incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                           timestamp_answered, timestamp_end, duration_seconds, billsec_seconds, call_status,
                           hangup_cause_code, hangup_cause_text, asterisk_uniqueid, asterisk_linkedid)
    select $3, $4, $5, $6, $7, $8, $9, $10, $11::timestamptz, $12::timestamptz, $13::timestamptz, $14::int,
           $15::int, $16, $17::int, $18, $1, $2
    from sound
    where $7 is null or exists (select from counted)
    returning id
)
select (select id from record) as id, logged, under_way, user_known, campaign_known, did_known, client_known,
       link_known, campaign_fits, did_fits, link_fits
from found
