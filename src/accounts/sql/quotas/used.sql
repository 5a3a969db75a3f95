-- How much a user ($1) has of some kinds ($2); null of the others.
select case when 'dids' = any($2::text[])
            then (select count(*) from dids where user_id = $1::int) end as dids,
       case when 'campaigns' = any($2::text[])
            then (select count(*) from campaigns where user_id = $1::int) end as campaigns,
       case when 'links' = any($2::text[])
            then (select count(*) from campaign_client_settings s join campaigns c on c.id = s.campaign_id
                  where c.user_id = $1::int) end as links,
       case when 'keys' = any($2::text[])
            then (select count(*) from api_keys where user_id = $1::int and revoked_at is null
                                                  and (expires_at is null or expires_at > now())) end as keys,
       case when 'recording_bytes' = any($2::text[])
            then (select coalesce(sum(f.bytes), 0)::bigint from recordings r join recording_files f using (recording_id)
                  where r.user_id = $1::int and r.state = 'stored') end as recording_bytes
