-- Locks the call under way that a dialplan speaks of: whoever settles it next waits. Its attempts are read by the next
-- statement, which sees what was committed while this one waited.
--
-- $1 the keys its unique id may stand under, $2 its Asterisk's system name if it was told, $3 name of its channel,
-- $4 the caller's number. Another Asterisk may give the same unique id: without a system name the channel, or the
-- caller where that was not told, must be the same.
select c.call_id, c.asterisk_uniqueid, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at, c.system_name, c.server_name, c.uniqueid_under_way,
       c.server_name is not null and exists (
           select from server_observers o
           where o.server_name = c.server_name and not o.contested
             and o.heartbeat > clock_timestamp() - interval '12 seconds') as observed,
       clock_timestamp() as now
from calls c
where c.uniqueid_under_way = any ($1::text[])
  and (c.system_name is null or $2::text is null or c.system_name = $2)
  and (c.system_name = $2 or c.channel = $3 or $3 = '' and c.caller_id_num is not distinct from $4::text
       or c.channel = '' and c.caller_id_num = $4::text)
order by c.channel = $3 desc, c.caller_id_num is not distinct from $4::text desc, c.call_id desc
limit 1
for update of c
