-- A client ($1) with its PJSIP objects. No password.
select c.id, c.client_identifier, c.name, c.department, c.status, c.access, c.notes, c.created_by, c.created_at, c.updated_at,
       c.registers,
       case when c.registers then exists (
           select from pjsip_contacts p
           where p.endpoint = e.id and p.expiration_time > extract(epoch from clock_timestamp()) - 60
       ) end as registered,
       coalesce(u.username = c.client_identifier and u.auth_type in ('userpass', 'md5') and u.password <> '', false)
           as can_register,
       e.id as endpoint_id, e.transport, e.aors, e.auth, e.context, e.disallow, e.allow, e.direct_media, coalesce(e.media_encryption, 'no') as media_encryption,
       e.outbound_auth, e.from_user, e.from_domain, e.callerid, e.config_updated_at as endpoint_updated_at,
       a.id as aor_id, a.contact, a.max_contacts, a.qualify_frequency, a.config_updated_at as aor_updated_at,
       u.id as auth_id, u.auth_type, u.username, u.realm, u.config_updated_at as auth_updated_at
from clients c
left join pjsip_endpoints e on e.client_id = c.id
left join pjsip_aors a on a.client_id = c.id
left join pjsip_auths u on u.client_id = c.id
where c.id = $1
