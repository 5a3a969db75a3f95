-- The address ($1) of a client ($2), new or changed.
insert into pjsip_aors (id, client_id, contact, max_contacts, qualify_frequency)
values ($1, $2, $3, $4::int, $5::int)
on conflict (client_id) do update
set contact = excluded.contact, max_contacts = excluded.max_contacts, qualify_frequency = excluded.qualify_frequency,
    config_updated_at = now()
returning id
