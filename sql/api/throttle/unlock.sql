-- Forgets the failed logins of an account ($1: its subject) from any network ($2: what the names of account and network
-- together begin with) and by its devices; returns what was locked.
with gone as (
    delete from login_failures f
    where f.subject = $1 or starts_with(f.subject, $2)
       or f.subject in (select 'device:' || encode(d.token_hash, 'hex') from login_devices d where d.user_id = $3)
    returning f.locked_until
)
select count(*) filter (where locked_until > now()) as locks from gone
