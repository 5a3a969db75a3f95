-- Keys with which the daemons sign what they hand out and take back later: links to recordings. All daemons on the
-- database use the same one; the first that needs it makes it. Deleting a row ends all that was signed with it. Safe
-- beside a running daemon: it touches no other table.
create table signing_keys (
    purpose    text primary key,
    key        bytea not null,
    created_at timestamptz not null default now(),
    constraint signing_keys_key_check check (octet_length(key) = 32)
);
grant select, insert on signing_keys to capconduit_admin;
