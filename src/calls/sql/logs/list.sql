-- A part of the call log: with the filters below, in the order $18, after the call at which the page before
-- ended ($19 its id, $20 its time, $21 its duration; null: from the beginning), rows $22 after $23 more.
-- It is planned for the values at hand: what they rule out is gone before the planner looks, so that each
-- order finds its index, and a page far down costs what the first one costs.
-- $1 seller; $2 from, $3 before; $4 campaign, $5 DID, $6 client; $7 statuses; $8 refusal reason; $9 dialled
-- number; $10 caller's number, of which $11 says that it is only the beginning; $12 and $13 shortest and longest
-- duration; $14 text to look for in numbers and names, $15 its digits; $16 words that were spoken, or $17 the calls in
-- which they were, whichever are fewer to look at. Each may be null.
with page as materialized (
    select l.id, l.user_id, l.campaign_id, l.did_id, l.client_id, l.incoming_did_number, l.caller_id_num,
           l.caller_id_name, l.timestamp_start, l.timestamp_answered, l.timestamp_end, l.duration_seconds,
           l.billsec_seconds, l.call_status, l.hangup_cause_code, l.hangup_cause_text,
           l.asterisk_uniqueid, l.asterisk_linkedid, l.refusal_reason, l.attempts, l.created_at, l.hangup_by
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
      and ($19::bigint is null
           or $18::text = '-timestamp_start' and l.timestamp_start <= $20::timestamptz
              and (l.timestamp_start, l.id) < ($20, $19)
           or $18 = 'timestamp_start' and l.timestamp_start >= $20
              and (l.timestamp_start, l.id) > ($20, $19)
           or $18 = '-duration' and (coalesce(l.duration_seconds, -1), l.id) < ($21::int, $19)
           or $18 = 'duration' and (coalesce(l.duration_seconds, -1), l.id) > ($21, $19))
    order by case when $18 = '-timestamp_start' then l.timestamp_start end desc,
             case when $18 = 'timestamp_start' then l.timestamp_start end,
             case when $18 = '-duration' then coalesce(l.duration_seconds, -1) end desc,
             case when $18 = 'duration' then coalesce(l.duration_seconds, -1) end,
             case when $18 in ('-timestamp_start', '-duration') then l.id end desc,
             case when $18 in ('timestamp_start', 'duration') then l.id end
    limit $22 offset $23
)
select p.id, p.user_id, c.id as campaign_id, c.name as campaign_name, d.id as did_id, d.number as did_number,
       cl.id as client_id, cl.name as client_name, cl.client_identifier,
       p.incoming_did_number, p.caller_id_num, p.caller_id_name, p.timestamp_start, p.timestamp_answered,
       p.timestamp_end, p.duration_seconds, p.billsec_seconds, p.call_status, p.hangup_cause_code,
       p.hangup_cause_text, p.asterisk_uniqueid, p.asterisk_linkedid, p.refusal_reason, p.attempts, p.created_at,
       p.hangup_by
from page p
left join campaigns c on c.id = p.campaign_id
left join dids d on d.id = p.did_id
left join clients cl on cl.id = p.client_id
order by case when $18 = '-timestamp_start' then p.timestamp_start end desc,
         case when $18 = 'timestamp_start' then p.timestamp_start end,
         case when $18 = '-duration' then coalesce(p.duration_seconds, -1) end desc,
         case when $18 = 'duration' then coalesce(p.duration_seconds, -1) end,
         case when $18 in ('-timestamp_start', '-duration') then p.id end desc,
         case when $18 in ('timestamp_start', 'duration') then p.id end
