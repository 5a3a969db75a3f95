-- As lock_call, by our own id ($1).
select c.call_id, c.asterisk_uniqueid, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at, c.system_name, c.server_name, c.uniqueid_under_way, c.server_name is not null and exists (
           select from server_observers o
           where o.server_name = c.server_name and not o.contested
             and o.heartbeat > clock_timestamp() - interval '12 seconds') as observed,
       clock_timestamp() as now
from calls c
where c.call_id = $1 and c.ended_at is null
for update of c
