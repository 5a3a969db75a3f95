-- The credentials ($1) of a client ($2), new or changed; the password becomes $7 if $6.
insert into pjsip_auths (id, client_id, auth_type, username, realm, password)
values ($1, $2, $3::text, $4::text, $5::text, case when $6::boolean then $7::text end)
on conflict (client_id) do update
set auth_type = excluded.auth_type, username = excluded.username, realm = excluded.realm,
    password = case when $6::boolean then excluded.password else pjsip_auths.password end,
    config_updated_at = now()
returning id
