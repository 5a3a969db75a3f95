-- Call centres that register: where they are is known from their registration, not from an address in a table. And
-- encrypted sound, by call centre.
--
-- Safe beside the version before: new columns only, and views with more columns at their end. That version takes a
-- call centre that registers for one without an address, and offers it nothing. Each step locks one table for a moment.

-- step: call centres
alter table clients add column if not exists registers boolean not null default false;

-- step: sound
alter table pjsip_endpoints add column if not exists media_encryption varchar(10)
    constraint pjsip_endpoints_media_encryption_check check (media_encryption in ('no', 'sdes'));

-- step: contacts and views
-- What res_pjsip_registrar keeps of a registration, under the names it has for it. Written by Asterisk, by way of the view
-- ps_contacts; endpoints of Asterisk's own files are here too where its configuration says so, so nothing refers to
-- pjsip_endpoints. No seller's: call centres have no owner.
create table if not exists pjsip_contacts (
    contact_id bigint generated always as identity primary key,
    id varchar(255) not null,
    uri varchar(765),
    expiration_time bigint,
    qualify_frequency int,
    qualify_timeout double precision,
    qualify_2xx_only varchar(5),
    outbound_proxy varchar(765),
    path text,
    user_agent varchar(255),
    reg_server varchar(255),
    authenticate_qualify varchar(5),
    via_addr varchar(64),
    via_port int,
    -- The Call-ID of the REGISTER, no call of ours.
    sip_call_id varchar(255),
    endpoint varchar(255),
    prune_on_boot varchar(5)
);
-- A contact's id is made of its address: it may have registered with two servers.
create unique index if not exists pjsip_contacts_id_key on pjsip_contacts (id, coalesce(reg_server, ''));
create index if not exists pjsip_contacts_endpoint_idx on pjsip_contacts (endpoint);

-- Each Asterisk sees what registered with it (capconduit.system_name of its connection, odbc.ini), since a call centre
-- behind an address translator answers only there; without a name it sees all.
create or replace view ps_contacts as
    select id, uri, expiration_time, qualify_frequency, qualify_timeout, qualify_2xx_only, outbound_proxy, path, user_agent,
           reg_server, authenticate_qualify, via_addr, via_port, sip_call_id as call_id, endpoint, prune_on_boot
    from pjsip_contacts
    where coalesce(reg_server, '') = ''
       or coalesce(current_setting('capconduit.system_name', true), '') in ('', reg_server);
grant select, insert, update, delete on ps_contacts to capconduit_asterisk;
grant select (endpoint, expiration_time, reg_server) on pjsip_contacts to capconduit_app, capconduit_admin;

-- Who registers is known by the user name of the Authorization header, and Asterisk then asks for the password. Without a
-- password to ask for, a name would be enough: such a client is known by an address that nobody has, as all others are.
-- Behind an address translator answers and sound go where requests and sound came from.
create or replace view ps_endpoints as
    select e.id,
           coalesce(nullif(e.transport, ''), nullif(current_setting('capconduit.transport', true), ''))::varchar(40)
               as transport,
           e.aors, (case when c.registers then a.id else e.auth end)::varchar(40) as auth,
           e.context, e.disallow, e.allow, e.direct_media, e.outbound_auth,
           replace(e.from_user, ';', '^3B')::varchar(240) as from_user, e.from_domain,
           replace(e.callerid, ';', '^3B')::varchar(240) as callerid,
           null::text as mailboxes,  -- looked for at start by the message waiting module
           case when c.registers and a.id is not null then 'auth_username' else 'ip' end as identify_by,
           'no'::text as allow_transfer, 'no'::text as allow_subscribe,
           nullif(current_setting('capconduit.media_address', true), '') as media_address,
           case when current_setting('capconduit.media_address', true) <> '' then 'yes' end as bind_rtp_to_media_address,
           e.media_encryption,
           case when c.registers then 'yes' end as rewrite_contact,
           case when c.registers then 'yes' end as rtp_symmetric,
           case when c.registers then 'yes' end as force_rport
    from pjsip_endpoints e
    join clients c on c.id = e.client_id
    left join pjsip_auths a on a.client_id = e.client_id and a.username = e.id
                           and a.auth_type in ('userpass', 'md5') and a.password <> ''
    where c.status = 'active';
create or replace view ps_aors as
    select a.id,
           (case when not c.registers then replace(a.contact, ';', '^3B') end)::varchar(765) as contact,
           case when c.registers then coalesce(a.max_contacts, 1) else a.max_contacts end as max_contacts,
           a.qualify_frequency,
           null::text as mailboxes,
           -- The newest registration counts: after a restart a device comes from another port.
           case when c.registers then 'yes' end as remove_existing,
           case when c.registers then 60 end as minimum_expiration,
           case when c.registers then 3600 end as maximum_expiration,
           case when c.registers then 120 end as default_expiration
    from pjsip_aors a join clients c on c.id = a.client_id
    where c.status = 'active';

-- Credentials of type md5: a hash stands in the column of the password and goes where Asterisk looks for one. A password
-- that is no hash is used as it is.
create or replace view ps_auths as
    select a.id,
           (case when a.auth_type = 'md5' and not hash.is_given then 'userpass' else a.auth_type end)::varchar(20)
               as auth_type,
           replace(a.username, ';', '^3B')::varchar(240) as username,
           (case when not hash.is_given then replace(a.password, ';', '^3B') end)::varchar(384) as password,
           replace(a.realm, ';', '^3B')::varchar(240) as realm,
           case when hash.is_given then lower(a.password) end as md5_cred
    from pjsip_auths a
    join clients c on c.id = a.client_id
    cross join lateral (
        select coalesce(a.auth_type = 'md5' and a.password ~ '^[0-9A-Fa-f]{32}$', false) as is_given
    ) hash
    where c.status = 'active';
