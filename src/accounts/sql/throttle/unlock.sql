-- Forgets the failed logins of an account ($1: its subject) from any network ($2: what the names of account and network
-- together begin with) and by its devices, and wrong codes of its second factor; returns what was locked.
with gone as (
    delete from login_failures f
    where f.subject = $1 or starts_with(f.subject, $2)
       or f.subject in (select 'device:' || encode(d.token_hash, 'hex') from login_devices d where d.user_id = $3)
    returning f.locked_until
)
, factor as (
    update totp_secrets t set failures = 0, locked_until = null
    from (select user_id, locked_until from totp_secrets where user_id = $3 for update) before
    where t.user_id = before.user_id
    returning before.locked_until
)
select (select count(*) from gone where locked_until > now())
     + (select count(*) from factor where locked_until > now()) as locks
