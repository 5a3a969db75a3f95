-- The dialplan's fallback answered a call ($1 its unique id, $2 its channel) that was seen to end before that was
-- reported, $3 seconds ago: its record, which says that nobody answered, is corrected. It talked $4 seconds.
update call_logs l
set call_status = 'ANSWERED', client_id = null, campaign_client_setting_id = null, refusal_reason = null,
    timestamp_answered = greatest(l.timestamp_start, l.timestamp_end - make_interval(secs => $4::float8)),
    billsec_seconds = least(floor($4::float8)::int, l.duration_seconds)
from calls c
where l.asterisk_uniqueid = $1::varchar and c.call_id = l.id and l.timestamp_start = c.started_at
  and (c.channel = $2::varchar or $2::varchar = '')
  and c.ended_at >= clock_timestamp() - make_interval(secs => $3::float8 + 30)
  and l.call_status in ('ABANDONED', 'FAILED') and l.timestamp_answered is null
returning l.id
