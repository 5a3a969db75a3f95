-- What the daemon may see of other sessions: only how long the oldest snapshot is held. Safe beside a running daemon: it
-- locks no table.
--
-- PostgreSQL shows a session's transaction only to members of the session's role and to pg_read_all_stats. The function
-- has its owner's rights; `hidden` counts the sessions that even the owner may not look at.
create function oldest_snapshot()
    returns table (seconds double precision, hidden bigint)
    language sql stable security definer set search_path = public, pg_temp
as $$
    with session as (
        select a.xact_start, a.query = '<insufficient privilege>' as hidden,
               a.backend_xmin is not null or a.backend_xid is not null as holds
          from pg_stat_activity a
         where a.pid <> pg_backend_pid()
           and a.usesysid is not null
           and a.datid = (select d.oid from pg_database d where d.datname = current_database())
           -- Vacuum holds nothing back.
           and a.backend_type is distinct from 'autovacuum worker'
           and a.query not ilike 'vacuum%'
    ), oldest as (
        select min(xact_start) filter (where holds) as since from session
        union all
        select min(prepared) from pg_prepared_xacts where database = current_database()
    )
    select coalesce(extract(epoch from clock_timestamp() - min(since)), 0)::double precision,
           (select count(*) from session where session.hidden)
      from oldest
$$;
revoke execute on function oldest_snapshot() from public;
grant execute on function oldest_snapshot() to capconduit_app;
