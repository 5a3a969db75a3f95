-- Locks the call that a report is about and that was closed without one: seen to end, or lost.
--
-- $1 its unique id, $2 its Asterisk's system name if it was told, $3 name of its channel, $4 the caller's number, $5 the
-- reservation that the report names, if it does, $6 how long ago the report came, in seconds; null: nobody knows. A
-- channel may have had several calls: without a reservation it is the last that began before the report and did not end
-- long before.
select c.call_id, c.asterisk_uniqueid, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at, c.system_name, c.server_name,
       coalesce(c.uniqueid_key, c.asterisk_uniqueid) as uniqueid_under_way, false as observed,
       clock_timestamp() as now, c.ended_at
from call_logs l
join calls c on c.call_id = l.id and c.started_at = l.timestamp_start
where l.asterisk_uniqueid = $1::varchar and c.ended_at is not null and not c.end_reported
  and (c.system_name is null or $2::text is null or c.system_name = $2)
  and (c.system_name = $2 or c.channel = $3::varchar or $3 = '' or c.channel = '' and c.caller_id_num = $4::text)
  and case when $5::bigint is not null
          then exists (select from call_attempts_recent a where a.call_id = c.call_id and a.reservation_id = $5)
          else $6::float8 is null
               or c.started_at <= clock_timestamp() - make_interval(secs => $6)
                  and c.ended_at >= clock_timestamp() - make_interval(secs => $6 + 30)
      end
order by c.call_id desc
limit 1
for update of c
