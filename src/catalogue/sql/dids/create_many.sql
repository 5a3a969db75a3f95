-- New DIDs of a seller ($1): these numbers ($2) with descriptions ($3) and statuses ($4), but for those that are DIDs
-- already.
insert into dids (user_id, number, description, status)
select $1::int, new.number, new.description, new.status
from unnest($2::text[], $3::text[], $4::text[]) with ordinality as new (number, description, status, place)
order by new.place
on conflict do nothing
returning id, user_id, (select username from users u where u.id = user_id) as username, number, status, description,
          created_at, updated_at
