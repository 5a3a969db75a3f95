-- Counts a failed login of a subject ($1). With failure $2 it is locked for $3 seconds; `locks` then, and only then.
-- So long after the last failure, or when a lock has ended, counting begins anew.
insert into login_failures as f (subject, failures, first_at, last_at, locked_until)
values ($1, 1, now(), now(), case when $2::int <= 1 then now() + make_interval(secs => $3::float8) end)
on conflict (subject) do update set (failures, first_at, last_at, locked_until) = (
    select n.failures, case when n.failures = 1 then now() else f.first_at end, now(),
           case when f.locked_until > now() then f.locked_until
                when n.failures >= $2::int then now() + make_interval(secs => $3::float8) end
    from (select case when f.locked_until <= now() or f.last_at < now() - make_interval(secs => $3::float8) then 1
                      else least(f.failures, 1000000) + 1 end as failures) n)
returning failures, coalesce(failures = greatest($2::int, 1), false) as locks
