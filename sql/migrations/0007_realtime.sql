-- Whom Asterisk takes for a call centre, and what one may do. Call centres are dialled to; they do not call in.
--
-- In an Asterisk that has more than our files, res_pjsip knows an endpoint by the user name in From, which proves
-- nothing: a stranger who wrote a client's identifier there was that client, without a password. `ip` knows an
-- endpoint by the address in an `identify` section only, and the views have none. A call centre's REFER or SUBSCRIBE
-- is declined: it would send a caller anywhere the endpoint's context leads.
--
-- An endpoint without a transport takes that of its Asterisk, and so the address for sound: the settings
-- capconduit.transport and capconduit.media_address of Asterisk's connection (odbc.ini). Without an address res_rtp
-- looks up the name of its own host for every leg, which takes seconds where nobody knows it.
--
-- The columns are new and stand last, so what reads the view today goes on; names are those of res_pjsip.
create or replace view ps_endpoints as
    select e.id,
           coalesce(nullif(e.transport, ''), nullif(current_setting('capconduit.transport', true), ''))::varchar(40)
               as transport,
           e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media, e.outbound_auth,
           replace(e.from_user, ';', '^3B')::varchar(240) as from_user, e.from_domain,
           replace(e.callerid, ';', '^3B')::varchar(240) as callerid,
           null::text as mailboxes,  -- looked for at start by the message waiting module
           'ip'::text as identify_by, 'no'::text as allow_transfer, 'no'::text as allow_subscribe,
           nullif(current_setting('capconduit.media_address', true), '') as media_address,
           case when current_setting('capconduit.media_address', true) <> '' then 'yes' end as bind_rtp_to_media_address
    from pjsip_endpoints e join clients c on c.id = e.client_id
    where c.status = 'active';
