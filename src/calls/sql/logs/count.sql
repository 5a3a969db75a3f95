-- How many calls the filters of a list leave.
-- $1 seller; $2 from, $3 before; $4 campaign, $5 DID, $6 client; $7 statuses; $8 refusal reason; $9 dialled
-- number; $10 caller's number, of which $11 says that it is only the beginning; $12 and $13 shortest and longest
-- duration; $14 text to look for in numbers and names, $15 its digits; $16 words that were spoken, or $17 the calls in
-- which they were, whichever are fewer to look at. Each may be null.
select count(*) as total
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
