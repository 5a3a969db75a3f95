-- Orders of the lists of recordings and of jobs, each with an index; and no call centre that Asterisk takes for another.
--
-- Safe beside the version before: indexes, one trigger for call centres that register, and one view with the same columns.

-- step: recordings by begin
create index concurrently if not exists recordings_started_at_idx on recordings (started_at, recording_id);

-- step: recordings by length
create index concurrently if not exists recordings_duration_idx
    on recordings ((coalesce(duration_ms, -1)), recording_id);

-- step: recordings by the time of their deletion
create index concurrently if not exists recordings_deletion_idx
    on recordings ((coalesce(delete_after, timestamptz '9999-12-30 00:00:00+00')), recording_id);

-- step: jobs by end
create index concurrently if not exists transcription_jobs_finished_at_idx
    on transcription_jobs ((coalesce(finished_at, timestamptz '9999-12-30 00:00:00+00')), job_id);

-- step: jobs by priority
create index concurrently if not exists transcription_jobs_priority_idx on transcription_jobs (priority, job_id);

-- step: names that Asterisk mixes up
-- Asterisk looks for the contacts of `a_b` with LIKE, in which `_` stands for any character: it finds those of `a-b` and
-- `axb` too, dials them, and removes them when `a_b` registers. So of call centres that register none may have a name that
-- is found with another's. The lock makes two that come at the same time wait for each other.
create or replace function refuse_mixed_up_name() returns trigger
language plpgsql set search_path = public, pg_temp as $$
declare
    other text;
begin
    perform pg_advisory_xact_lock(hashtext('capconduit: names of call centres that register'));
    select c.client_identifier into other from clients c
        where c.registers and c.id <> new.id
          and (c.client_identifier like new.client_identifier or new.client_identifier like c.client_identifier)
        limit 1;
    if found then
        raise exception 'Asterisk would mix up the registrations of % and %', new.client_identifier, other
            using errcode = 'unique_violation', constraint = 'clients_registered_name', table = 'clients', detail = other,
                  hint = 'In a name, _ stands for any character. Let one of them not register, or give it another name.';
    end if;
    return new;
end
$$;
create or replace trigger clients_registered_name before insert or update of registers, client_identifier on clients
    for each row when (new.registers) execute function refuse_mixed_up_name();

-- step: addresses
-- Of a call centre that registers only the one under its own name, which is the one that is looked at above.
create or replace view ps_aors as
    select a.id,
           (case when not c.registers then replace(a.contact, ';', '^3B') end)::varchar(765) as contact,
           case when c.registers then coalesce(a.max_contacts, 1) else a.max_contacts end as max_contacts,
           a.qualify_frequency,
           null::text as mailboxes,
           case when c.registers then 'yes' end as remove_existing,
           case when c.registers then 60 end as minimum_expiration,
           case when c.registers then 3600 end as maximum_expiration,
           case when c.registers then 120 end as default_expiration
    from pjsip_aors a join clients c on c.id = a.client_id
    where c.status = 'active' and (not c.registers or a.id = c.client_identifier);
