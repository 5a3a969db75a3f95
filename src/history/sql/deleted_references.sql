-- Deleted rows that call records may still refer to, the oldest first; at most $1. Where a row with that id is there
-- again, as in tables that were emptied and filled anew, the note is forgotten.
with noted as (
    select column_name, id, deleted_at,
           case column_name
               when 'user_id' then exists (select from users u where u.id = r.id)
               when 'campaign_id' then exists (select from campaigns c where c.id = r.id)
               when 'did_id' then exists (select from dids d where d.id = r.id)
               when 'client_id' then exists (select from clients c where c.id = r.id)
               else exists (select from campaign_client_settings s where s.id = r.id)
           end as is_back
    from deleted_references r
    order by deleted_at, column_name, id
    limit $1
), forgotten as (
    delete from deleted_references r using noted n
    where n.is_back and r.column_name = n.column_name and r.id = n.id
)
select column_name, id from noted where not is_back order by deleted_at, column_name, id
