-- Applies what campaigns and the platform say now to the next $2 recordings after $1: $3 fewest days, $4 most (null: no
-- limit). Days of a campaign that was deleted stay as they were. What somebody asked to be deleted has a moment of its
-- own, and keeps it. Returns the last recording looked at; no row: there are no more.
with few as (
    select r.recording_id, r.state, r.stored_at, r.delete_after, r.retention_days,
           case when g.id is null then r.retention_days else g.recording_retention_days end as wanted
    from recordings r
    left join campaigns g on g.id = r.campaign_id
    where r.recording_id > $1
    order by r.recording_id
    limit $2
), meant as (
    select recording_id, stored_at,
           -- `least` passes over null, which stands for ever.
           greatest(least(wanted, $4::int), case when least(wanted, $4::int) is not null then $3::int end) as days
    from few
    where state = 'stored'
      and delete_after is not distinct from stored_at + make_interval(days => retention_days)
), changed as (
    update recordings r
    set retention_days = m.days, delete_after = m.stored_at + make_interval(days => m.days)
    from meant m
    where r.recording_id = m.recording_id and r.state = 'stored'
      and (r.retention_days is distinct from m.days
           or r.delete_after is distinct from m.stored_at + make_interval(days => m.days))
    returning r.recording_id
)
select max(few.recording_id) as last, (select count(*) from changed) as changed, count(*) as seen from few
having count(*) > 0
