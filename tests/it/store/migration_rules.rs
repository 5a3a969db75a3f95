//! The rule for migrations beside a running daemon, as docs/migrations.md says it, held against the files.

use std::path::Path;

/// From here on: those before were written when nothing ran beside them.
const FIRST: u32 = 6;

/// Tables with a row for each call, or more.
const HISTORY: [&str; 9] = [
    "call_logs",
    "call_attempts",
    "decisions",
    "audit_log",
    "recordings",
    "recording_files",
    "transcription_jobs",
    "transcripts",
    "transcript_segments",
];

/// Tables that every call reads or writes.
const CATALOGUE: [&str; 13] = [
    "users",
    "clients",
    "pjsip_endpoints",
    "pjsip_aors",
    "pjsip_auths",
    "dids",
    "campaigns",
    "campaign_dids",
    "campaign_client_settings",
    "link_usage",
    "campaign_rotations",
    "calls",
    "reservations",
];

/// The text without comments and without bodies of functions, which do their work later; one blank between words.
fn bare(step: &str) -> String {
    let without_comments: Vec<&str> = step
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect();
    let mut text = without_comments
        .join(" ")
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(';', " ; ")
        .replace(',', " , ")
        .to_lowercase();
    while let Some(start) = text.find(" function ").filter(|_| text.contains("create")) {
        // `drop function`, `grant execute on function`, or a definition with a body.
        let before = text[..start].trim_end();
        let defines = before.ends_with("create") || before.ends_with("or replace");
        let body = text[start..].find("$$").map(|at| start + at + 2);
        let end = body.and_then(|body| text[body..].find("$$").map(|at| body + at + 2));
        match end {
            Some(end) if defines => text.replace_range(start..end, " routine "),
            _ => text.replace_range(start..start + 10, " routine "),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a table's name stands in a text as a word of its own.
fn names(text: &str, table: &str) -> bool {
    let plain = |word: &str| word.trim_start_matches("public.").trim_matches('\'') == table;
    text.split(' ').any(plain)
}

fn any_of<'a>(text: &str, tables: &[&'a str]) -> Option<&'a str> {
    tables.iter().copied().find(|table| names(text, table))
}

/// What is wrong with a step, if anything.
fn faults(step: &str) -> Vec<String> {
    let text = bare(step);
    let statements: Vec<&str> = text.split(" ; ").map(str::trim).collect();
    let mut faults = Vec::new();
    let mut note = |fault: &str, statement: &str| faults.push(format!("{fault}: {statement}"));
    let concurrently = text.contains("index concurrently");
    let validates = text.contains("validate constraint");
    let locks_catalogue = statements.iter().find(|statement| {
        let changes = [
            "alter table",
            "drop table",
            "create trigger",
            "drop trigger",
            "lock table",
        ];
        changes.iter().any(|change| statement.contains(change))
            && !statement.contains("create table")
            && any_of(statement, &CATALOGUE).is_some()
    });
    for statement in &statements {
        let history = any_of(statement, &HISTORY);
        if concurrently && statements.iter().filter(|s| !s.is_empty()).count() > 1 {
            note(
                "an index is built concurrently in a step of its own",
                statement,
            );
        }
        let Some(table) = history else { continue };
        let on_it = format!(" on {table} ");
        let builds =
            statement.contains("create index") || statement.contains("create unique index");
        if builds
            && !concurrently
            && (statement.contains(&on_it) || statement.contains(&format!(" on only {table} ")))
        {
            note("an index of history is built concurrently", statement);
        }
        let alters = statement.contains(&format!("alter table {table} "));
        if alters && statement.contains("add constraint") && !statement.contains("not valid") {
            note(
                "a constraint of history is added not valid, and validated in a later step",
                statement,
            );
        }
        if alters && (statement.contains("set not null") || statement.contains(" type ")) {
            note(
                "history is not read through or rewritten under a lock",
                statement,
            );
        }
        let generated = statement.contains("add column")
            && (statement.contains("default now")
                || statement.contains("default random")
                || statement.contains("default gen_")
                || statement.contains("default nextval")
                || statement.contains("generated always as"));
        if alters && generated {
            note(
                "a new column of history has no default that is computed for each row",
                statement,
            );
        }
        if statement.contains(&format!("update {table} "))
            || statement.contains(&format!("delete from {table} "))
        {
            note(
                "rows of history are changed by the daemon, in batches",
                statement,
            );
        }
        if let Some(locked) = locks_catalogue
            && !statement.contains("create policy")
            && !statement.contains("grant ")
        {
            note("no step that locks what calls use touches history", locked);
        }
    }
    if validates
        && (text.contains("not valid") || text.contains("add column") || locks_catalogue.is_some())
    {
        note("a constraint is validated in a step of its own", &text);
    }
    faults
}

fn steps(sql: &str) -> Vec<String> {
    let marked = format!("\n{sql}");
    marked.split("\n-- step:").map(ToOwned::to_owned).collect()
}

#[test]
fn migrations_can_be_applied_beside_a_running_daemon() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/migrations");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let number: u32 = name.split('_').next().unwrap().parse().unwrap();
        if number < FIRST {
            continue;
        }
        for step in steps(&std::fs::read_to_string(&path).unwrap()) {
            let found = faults(&step);
            assert!(found.is_empty(), "{name}: {found:#?}");
        }
    }
}

#[test]
fn what_would_hold_up_calls_is_found() {
    for planted in [
        "create index x on call_logs (client_id)",
        "create unique index if not exists x on decisions (call_id);",
        "alter table call_logs add constraint c check (billsec_seconds <= duration_seconds)",
        "alter table call_attempts add constraint c check (attempt > 0) not valid;
         alter table call_attempts validate constraint c",
        "alter table decisions alter column reason set not null",
        "alter table decisions alter column link_id type bigint",
        "alter table audit_log add column seen_at timestamptz default now()",
        "update call_logs set user_id = null where user_id = 7",
        "alter table users drop column x; delete from call_logs",
        "alter table calls add column x int; create index concurrently i on call_logs (id)",
        "create trigger t after delete on users execute function f();
         alter table call_logs drop constraint c",
        "do $$ begin update call_logs set user_id = null; end $$",
    ] {
        assert!(!faults(planted).is_empty(), "{planted}");
    }
    for harmless in [
        "create index concurrently if not exists x on call_logs (client_id);",
        "alter table call_logs add constraint c check (billsec_seconds <= duration_seconds) not valid;",
        "alter table call_logs validate constraint c",
        "alter table call_logs add column server_name text",
        "alter table calls add column system_name text; create index x on calls (system_name)",
        "create table servers (name text primary key); grant select on servers, call_logs to capconduit_app",
        "create function f() returns int language sql as $$ update call_logs set id = 1 returning 1 $$;
         alter table users add column x int",
        "-- update call_logs in words\nselect 1",
    ] {
        assert!(faults(harmless).is_empty(), "{harmless}: {:?}", faults(harmless));
    }
}
