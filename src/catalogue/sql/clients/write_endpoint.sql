-- The endpoint ($1) of a client ($2), new or changed.
insert into pjsip_endpoints (id, client_id, transport, aors, auth, context, disallow, allow, direct_media,
                             outbound_auth, from_user, from_domain, callerid, media_encryption)
values ($1, $2, $3::text, $4::text, $5::text, $6, $7::text, $8::text, $9::text, $10::text, $11::text, $12::text,
        $13::text, $14::text)
on conflict (client_id) do update
set transport = excluded.transport, aors = excluded.aors, auth = excluded.auth, context = excluded.context,
    disallow = excluded.disallow, allow = excluded.allow, direct_media = excluded.direct_media,
    outbound_auth = excluded.outbound_auth, from_user = excluded.from_user, from_domain = excluded.from_domain,
    callerid = excluded.callerid, media_encryption = excluded.media_encryption,
    config_updated_at = now()
returning id
