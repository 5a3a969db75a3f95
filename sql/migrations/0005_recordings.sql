-- Recordings, the jobs that transcribe them, and transcripts.
--
-- A call under way references none of these, and they reference no catalogue row and no call: what is deleted
-- there never waits for, or breaks, a recording. `user_id` is the owner at the time of the call.

-- What a campaign records, and what becomes of it. The announcement is the name of a sound file that both sides
-- hear before they are connected; where it cannot be played nothing is recorded.
alter table campaigns
    add column recording_enabled boolean not null default false,
    add column recording_language text not null default 'en',
    add column recording_announcement varchar(64),
    add column recording_retention_days int,
    add column mask_numbers boolean not null default false,
    add constraint campaigns_recording_language_check check (recording_language in ('en', 'hi', 'auto')),
    add constraint campaigns_recording_announcement_check check (recording_announcement ~ '^[A-Za-z0-9_-]+$'),
    add constraint campaigns_recording_retention_days_check check (recording_retention_days between 1 and 36500);

-- The file stem an attempt was told to record to; null: it was not.
alter table call_attempts add column recording_stem varchar(80);

-- One recorded conversation: expected -> stored -> deleted, expected -> missing (-> stored, should the files turn
-- up). Made in the transaction that closes the call, or when files of an attempt turn up that nobody saw answered.
create table recordings (
    recording_id bigint generated always as identity primary key,
    call_id bigint not null,
    attempt int not null,
    user_id int,
    campaign_id int,
    stem varchar(80) not null,
    state text not null,
    language text not null,
    mask_numbers boolean not null,
    started_at timestamptz not null,
    expected_at timestamptz not null,
    stored_at timestamptz,
    deleted_at timestamptz,
    -- Where its files are, in the words of recording.storage: a directory, or s3://bucket/prefix.
    location text,
    duration_ms bigint,
    -- Its header told no length, as after a crash; the length was taken from the file's.
    repaired boolean not null default false,
    -- Of the campaign when the call ended; null: for ever.
    retention_days int,
    delete_after timestamptz,
    -- Who holds it and why: it is not deleted whatever its age.
    hold_reason text,
    remark text,
    constraint recordings_call_id_attempt_key unique (call_id, attempt),
    constraint recordings_stem_key unique (stem),
    constraint recordings_check check (
        language in ('en', 'hi', 'auto')
        and case state
            when 'expected' then stored_at is null and deleted_at is null
            when 'missing' then stored_at is null and deleted_at is null
            when 'stored' then stored_at is not null and location is not null and deleted_at is null
            when 'deleted' then deleted_at is not null
            else false
        end)
);
create index recordings_user_id_idx on recordings (user_id, recording_id desc);
create index recordings_state_idx on recordings (state, expected_at);
create index recordings_delete_after_idx on recordings (delete_after);

-- The files of a stored recording: what the caller said, what the agent said, both.
create table recording_files (
    recording_id bigint not null references recordings on delete cascade,
    leg text not null,
    user_id int,
    object_key text not null,
    bytes bigint not null,
    sha256 bytea not null,
    sample_rate int,
    duration_ms bigint,
    primary key (recording_id, leg),
    constraint recording_files_check check (leg in ('caller', 'agent', 'mix') and bytes >= 0)
);

-- Work for transcribers, one job a recording:
-- waiting (for the files) -> queued -> running -> done | queued again | failed; any but done -> cancelled.
-- A running job belongs to whoever has its lease: `attempts` is the number of the lease, and a result is taken
-- from its holder only. A failed job is a dead letter: it stays until it is retried by hand.
create table transcription_jobs (
    job_id bigint generated always as identity primary key,
    recording_id bigint not null references recordings on delete cascade,
    call_id bigint not null,
    user_id int,
    language text not null,
    state text not null,
    priority int not null default 0,
    attempts int not null default 0,
    max_attempts int not null default 3,
    not_before timestamptz not null,
    node_name text,
    lease_expires_at timestamptz,
    progress_ms bigint,
    error_code text,
    error_message text,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    constraint transcription_jobs_recording_id_key unique (recording_id),
    constraint transcription_jobs_check check (
        language in ('en', 'hi', 'auto') and attempts >= 0
        and case state
            when 'waiting' then finished_at is null and lease_expires_at is null
            when 'queued' then finished_at is null and lease_expires_at is null
            when 'running' then lease_expires_at is not null and node_name is not null
            when 'done' then finished_at is not null and lease_expires_at is null
            when 'failed' then finished_at is not null and error_code is not null
            when 'cancelled' then finished_at is not null
            else false
        end)
) with (fillfactor = 70);
create index transcription_jobs_queue_idx on transcription_jobs (state, language, priority desc, not_before, job_id);
create index transcription_jobs_user_id_idx on transcription_jobs (user_id, job_id desc);
create index transcription_jobs_call_id_idx on transcription_jobs (call_id);

-- What was said, one transcript a recording.
create table transcripts (
    recording_id bigint primary key references recordings on delete cascade,
    call_id bigint not null,
    user_id int,
    language text not null,
    engine text not null,
    engine_version text not null,
    -- By language: name of the model.
    models jsonb not null,
    audio_ms bigint not null,
    words int not null,
    -- Mean of the words' by their duration; null without words.
    confidence real,
    masked boolean not null default false,
    created_at timestamptz not null,
    -- All that was said, each language in its own dictionary.
    search tsvector not null,
    constraint transcripts_check check (
        language in ('en', 'hi', 'auto') and words >= 0 and audio_ms >= 0 and confidence between 0 and 1)
);
create index transcripts_call_id_idx on transcripts (call_id);
create index transcripts_user_id_idx on transcripts (user_id);
create index transcripts_search_idx on transcripts using gin (search);

-- Utterances in the order of their beginnings. `words`: an array of {word, startMs, endMs, confidence}.
create table transcript_segments (
    recording_id bigint not null references transcripts on delete cascade,
    segment int not null,
    user_id int,
    speaker text not null,
    language text not null,
    start_ms bigint not null,
    end_ms bigint not null,
    text text not null,
    confidence real not null,
    words jsonb not null,
    primary key (recording_id, segment),
    constraint transcript_segments_check check (
        speaker in ('caller', 'agent') and language in ('en', 'hi')
        and start_ms >= 0 and end_ms >= start_ms and confidence between 0 and 1)
);

-- The dictionary of a language. Both come with PostgreSQL 14 and newer.
create function transcript_dictionary(language text) returns regconfig language sql immutable parallel safe as
    $$ select case language when 'hi' then 'pg_catalog.hindi'::regconfig else 'pg_catalog.english'::regconfig end $$;

-- What somebody looks for, in either language.
create function transcript_query(words text) returns tsquery language sql immutable parallel safe as
    $$ select websearch_to_tsquery('pg_catalog.english'::regconfig, words)
           || websearch_to_tsquery('pg_catalog.hindi'::regconfig, words) $$;

-- The daemon, operators, sellers.
grant select, insert, update, delete on recordings, recording_files, transcription_jobs, transcripts,
    transcript_segments to capconduit_app;
grant select, update on recordings, transcription_jobs to capconduit_admin;
grant select on recording_files, transcripts, transcript_segments to capconduit_admin;
grant select on recordings, recording_files, transcription_jobs, transcripts, transcript_segments to capconduit_api;

do $$
declare
    secured text;
begin
    foreach secured in array array['recordings', 'recording_files', 'transcription_jobs', 'transcripts',
                                   'transcript_segments'] loop
        execute format('alter table %I enable row level security', secured);
        execute format('create policy daemon on %I to capconduit_app using (true) with check (true)', secured);
        execute format('create policy operator on %I to capconduit_admin using (true) with check (true)', secured);
        execute format('create policy tenant on %I to capconduit_api
                            using (user_id = current_tenant()) with check (user_id = current_tenant())', secured);
    end loop;
end
$$;
