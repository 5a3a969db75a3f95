-- Clients with their PJSIP objects, of one status ($1), one access ($2), with a text ($3) in identifier, name or
-- department; each may be null. In this order ($4); rows $5, beginning after $6. No password.
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
where ($1::text is null or c.status = $1) and ($2::text is null or c.access = $2)
  and ($3::text is null or position(lower($3) in lower(c.name)) > 0
       or position(lower($3) in lower(c.client_identifier)) > 0 or position(lower($3) in lower(c.department)) > 0)
order by case when $4::text = 'name' then c.name end, case when $4 = '-name' then c.name end desc,
         case when $4 = 'clientIdentifier' then c.client_identifier end,
         case when $4 = '-clientIdentifier' then c.client_identifier end desc,
         case when $4 = 'createdAt' then c.created_at end, case when $4 = '-createdAt' then c.created_at end desc,
         case when $4 = 'updatedAt' then c.updated_at end, case when $4 = '-updatedAt' then c.updated_at end desc,
         c.id
limit $5 offset $6
