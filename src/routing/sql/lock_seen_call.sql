-- As lock_call, for the call of a channel ($4 its name, $5 when it was made) that was seen on a server ($2, which calls
-- itself $3). A call seen on another server is not this one; nor is one that nobody has seen, if there are two of
-- which this could be the channel. Where somebody else uses the server's name too, only calls that daemon $6 saw
-- itself are its calls; null: nobody does.
select c.call_id, c.asterisk_uniqueid, c.channel, c.incoming_did_number, c.caller_id_num, c.started_at, c.refused_at,
       c.refusal_reason, c.over_at, c.system_name, c.server_name, c.uniqueid_under_way, true as observed,
       clock_timestamp() as now
from calls c
where c.uniqueid_under_way = any ($1::text[])
  and case when c.server_name is not null
          then c.server_name = $2
               and (c.channel_created_at is null or $5::timestamptz is null or c.channel_created_at = $5)
               and ($6::text is null or c.seen_by = $6)
          else (c.system_name is null or c.system_name = $3::text)
               and (c.channel = $4 or ($4 = '' and $6::text is null))
               and not exists (
                   select from calls other
                   where other.uniqueid_under_way = any ($1::text[]) and other.call_id <> c.call_id
                     and other.server_name is null and other.channel = c.channel
                     and (other.system_name is null or other.system_name = $3::text))
      end
order by c.channel = $4 desc, c.call_id desc
limit 1
for update of c
