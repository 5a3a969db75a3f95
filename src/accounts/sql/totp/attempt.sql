-- Counts an attempt at the second factor of an account ($1) before its code is looked at: many at once pass no limit.
-- Attempt $2 without success locks it for $3 seconds; so long after the last one counting begins anew. No row: there is
-- none, or it is locked. With $4 also one that is not confirmed yet.
update totp_secrets t set
    (failures, last_failed_at, locked_until) = (
        select n.failures, now(),
               case when n.failures >= $2::int then now() + make_interval(secs => $3::float8) end
        from (select case when t.locked_until is not null or t.last_failed_at < now() - make_interval(secs => $3::float8)
                          then 1 else t.failures + 1 end as failures) n)
where user_id = $1 and (confirmed_at is not null or $4::boolean) and coalesce(locked_until <= now(), true)
returning sealed, last_step, extract(epoch from now())::bigint as now, locked_until is not null as last_one
