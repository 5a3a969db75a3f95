-- Calls counted by $18, and within that by $20 unless that is null: campaign, client, did, link, user, status, reason,
-- hangup_cause, weekday_hour, or the minute, hour, day, week or month they began in the zone $21; at most $19 groups, those by
-- time in their order, others the busiest first. A call counts as answered, refused or abandoned by its status, and as
-- failed if it is none of these. $22: also how long callers waited for an answer, and how many callers there were.
-- $1 seller; $2 from, $3 before; $4 campaign, $5 DID, $6 client; $7 statuses; $8 refusal reason; $9 dialled
-- number; $10 caller's number, of which $11 says that it is only the beginning; $12 and $13 shortest and longest
-- duration; $14 text to look for in numbers and names, $15 its digits; $16 words that were spoken, or $17 the calls in
-- which they were, whichever are fewer to look at. Each may be null.
with grouped as (
    select case $18::text when 'campaign' then l.campaign_id when 'client' then l.client_id when 'did' then l.did_id
                when 'link' then l.campaign_client_setting_id when 'user' then l.user_id
                when 'hangup_cause' then l.hangup_cause_code end as id1,
           case $18::text when 'status' then l.call_status::text when 'reason' then l.refusal_reason
                when 'weekday_hour' then to_char(l.timestamp_start at time zone $21::text, 'ID-HH24') end as key1,
           case when $18::text in ('minute', 'hour', 'day', 'week', 'month')
                then date_trunc($18::text, l.timestamp_start, $21::text) end as at1,
           case $20::text when 'campaign' then l.campaign_id when 'client' then l.client_id when 'did' then l.did_id
                when 'link' then l.campaign_client_setting_id when 'user' then l.user_id
                when 'hangup_cause' then l.hangup_cause_code end as id2,
           case $20::text when 'status' then l.call_status::text when 'reason' then l.refusal_reason
                when 'weekday_hour' then to_char(l.timestamp_start at time zone $21::text, 'ID-HH24') end as key2,
           case when $20::text in ('minute', 'hour', 'day', 'week', 'month')
                then date_trunc($20::text, l.timestamp_start, $21::text) end as at2,
           count(*) as calls,
           count(*) filter (where l.call_status = 'ANSWERED') as answered,
           count(*) filter (where starts_with(l.call_status, 'REJECTED')) as refused,
           count(*) filter (where l.call_status = 'ABANDONED') as abandoned,
           coalesce(sum(l.billsec_seconds), 0)::bigint as billed_seconds,
           avg(l.duration_seconds)::float8 as average_duration_seconds,
           case when $22::boolean then percentile_cont(array[0.5, 0.9]) within group (
               order by extract(epoch from l.timestamp_answered - l.timestamp_start)::float8)
               filter (where l.call_status = 'ANSWERED') end as ring_seconds,
           case when $22 then count(distinct l.caller_id_num) end as unique_callers
    from call_logs l
    where ($1::int is null or l.user_id = $1)
      and ($2::timestamptz is null or l.timestamp_start >= $2)
      and ($3::timestamptz is null or l.timestamp_start < $3)
      and ($4::int is null or l.campaign_id = $4)
      and ($5::int is null or l.did_id = $5)
      and ($6::int is null or l.client_id = $6)
      and ($7::text[] is null or l.call_status = any ($7))
      and ($8::text is null or l.refusal_reason = $8)
      and ($9::text is null or l.incoming_did_number = $9)
      and ($10::text is null or case when $11::boolean then starts_with(l.caller_id_num, $10)
                                     else l.caller_id_num = $10 end)
      and ($12::int is null or l.duration_seconds >= $12)
      and ($13::int is null or l.duration_seconds <= $13)
      and ($14::text is null
           or position(lower($14) in lower(l.caller_id_name)) > 0
           or position($14 in l.caller_id_num) > 0
           or position($14 in l.incoming_did_number) > 0
           or position($15::text in regexp_replace(l.caller_id_num, '\D', '', 'g')) > 0
           or position($15::text in regexp_replace(l.incoming_did_number, '\D', '', 'g')) > 0
           or l.campaign_id in (select id from campaigns where position(lower($14) in lower(name)) > 0)
           or l.client_id in (select id from clients where position(lower($14) in lower(name)) > 0))
      and ($16::text is null
           or (select bool_or(t.search @@ transcript_query($16)) from transcripts t
               where t.call_id = l.id and ($1 is null or t.user_id = $1)))
      and ($17::bigint[] is null or l.id = any ($17))
    group by 1, 2, 3, 4, 5, 6
)
select g.id1, coalesce(g.key1, g.id1::text) as key1, g.at1,
       coalesce(c1.name, d1.number, cl1.name, lc1.name, u1.username) as name1,
       g.id2, coalesce(g.key2, g.id2::text) as key2, g.at2,
       coalesce(c2.name, d2.number, cl2.name, lc2.name, u2.username) as name2,
       g.calls, g.answered, g.refused, g.abandoned,
       g.calls - g.answered - g.refused - g.abandoned as failed,
       g.billed_seconds, g.average_duration_seconds, g.ring_seconds[1] as ring_seconds_median,
       g.ring_seconds[2] as ring_seconds_p90, g.unique_callers
from grouped g
left join campaigns c1 on $18 = 'campaign' and c1.id = g.id1
left join dids d1 on $18 = 'did' and d1.id = g.id1
left join clients cl1 on $18 = 'client' and cl1.id = g.id1
left join campaign_client_settings s1 on $18 = 'link' and s1.id = g.id1
left join clients lc1 on lc1.id = s1.client_id
left join users u1 on $18 = 'user' and u1.id = g.id1
left join campaigns c2 on $20 = 'campaign' and c2.id = g.id2
left join dids d2 on $20 = 'did' and d2.id = g.id2
left join clients cl2 on $20 = 'client' and cl2.id = g.id2
left join campaign_client_settings s2 on $20 = 'link' and s2.id = g.id2
left join clients lc2 on lc2.id = s2.client_id
left join users u2 on $20 = 'user' and u2.id = g.id2
order by g.at1, case when $18 = 'weekday_hour' then g.key1 end,
         sum(g.calls) over (partition by g.id1, g.key1, g.at1) desc, g.id1, g.key1,
         g.at2, case when $20 = 'weekday_hour' then g.key2 end, g.calls desc, g.id2, g.key2
limit $19
