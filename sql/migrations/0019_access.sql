-- Links to recordings that end when all access of an account is taken back. Daemons of the version before go on beside
-- it: the new column may be left out, and nothing that they name changes.

-- step: How often all links of an account were ended: a link names the number it was made at, and opens at no other
alter table users add column if not exists links_epoch int not null default 0;

-- step: Sellers' requests about their own sessions and keys go through row level security
grant delete on sessions to capconduit_api;
grant insert, update on api_keys to capconduit_api;
grant select on api_key_networks to capconduit_api;

-- Locks an account, as changes of it and new keys do, for those who may not change accounts. A seller locks its own.
create or replace function lock_account(of_id int) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform from users
    where id = of_id and (id = current_tenant() or current_setting('role', true) = 'capconduit_admin')
    for no key update;
end
$$;
revoke execute on function lock_account(int) from public;
grant execute on function lock_account(int) to capconduit_api, capconduit_admin;
