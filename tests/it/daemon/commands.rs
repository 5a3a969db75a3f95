//! What the command line says where something is not as it should be.

use crate::support::TestDb;
use crate::support::World;
use crate::support::daemon::DaemonSettings;
use crate::support::world::{DID, link};

#[tokio::test]
async fn commands_on_a_database_without_schema_say_what_makes_it() {
    let db = TestDb::empty().await;
    let settings = DaemonSettings::new("a", &db.url);
    let commands: [&[&str]; 3] = [
        &["route", "--did", "+18005550101"],
        &["user", "password", "carol"],
        &[
            "user",
            "create",
            "carol",
            "--email",
            "c@example.com",
            "--role",
            "admin",
        ],
    ];
    for words in commands {
        let output = settings
            .command(words[0])
            .args(&words[1..])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.contains("run `capconduit migrate`"),
            "{words:?}: {said}"
        );
        assert!(!said.contains("does not exist"), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn the_decision_by_hand_names_a_paused_campaign() {
    let world = World::new("priority", &[link(1)]).await;
    world.db.run("update campaigns set status = 'paused'").await;
    let settings = DaemonSettings::new("a", &world.db.url);
    let mut command = settings.command("route");
    let output = (command.args(["--did", DID, "--explain"]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("campaign  1 campaign: paused\n"), "{said}");
    assert!(
        said.ends_with("REJECT no_active_campaign_for_did (campaign 1 campaign: paused)\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_command_that_fails_on_a_right_schema_tells_its_own_failure() {
    let db = TestDb::new().await;
    let settings = DaemonSettings::new("a", &db.url);
    let mut command = settings.command("user");
    let output = command.args(["password", "nobody"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no user"), "{said}");
}

/// A login that has the three roles and nothing else, and how to reach the database with it.
async fn plain_login(db: &TestDb) -> (String, String) {
    let name = format!(
        "plain_{}",
        db.one::<String>("select current_database()::text").await
    );
    db.run(&format!(
        "create role {name} login; grant capconduit_app, capconduit_api, capconduit_admin to {name}"
    ))
    .await;
    let url = db.url.replace("user=postgres", &format!("user={name}"));
    (name, url)
}

#[tokio::test]
async fn the_daemon_works_with_a_login_that_owns_nothing() {
    let db = TestDb::empty().await;
    let world = TestDb::new().await;
    let (name, url) = plain_login(&world).await;
    // The owner migrates and makes the account; the daemon has its own login.
    let migrated = DaemonSettings::new("a", "host=/nowhere dbname=none")
        .with("DATABASE__MIGRATE_URL", &db.url)
        .command("migrate")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&migrated.stdout).into_owned();
    assert!(
        migrated.status.success() && said.contains("schema is at version"),
        "{said}"
    );

    let settings = DaemonSettings::new("a", &url).with("DATABASE__MIGRATE_URL", &world.url);
    let made = settings
        .command("user")
        .args([
            "create",
            "carol",
            "--email",
            "c@example.com",
            "--role",
            "admin",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let password = said.split("only here: ").nth(1).expect("a password");
    let password = password.lines().next().expect("a line");
    assert!(
        said.contains("which the first log-in must change"),
        "{said}"
    );

    let daemon = settings.start();
    daemon.wait_component("database", "ready").await;
    daemon.wait_component("schema", "\"ready\"").await;
    let api = format!("http://{}", daemon.http);
    let body = serde_json::json!({"username": "carol", "password": password});
    let client = reqwest::Client::new();
    let answer = client
        .post(format!("{api}/api/auth/login"))
        .json(&body)
        .send();
    let answer = answer.await.expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(answer["required"], "password_change");
    let refused = daemon.route("1.1", &[]).await.expect("answers");
    assert!(format!("{refused:?}").contains("REJECT"), "{refused:?}");
    // The event is written before the daemon ends.
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().await, Some(0));
    let events: i64 = world
        .one("select count(*) from security_events where event = 'login'")
        .await;
    assert_eq!(events, 1);

    let check = |settings: &DaemonSettings| {
        let output = settings.command("check").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = check(&settings);
    assert!(said.contains(&format!("{name} owns nothing")), "{said}");
    let said = check(&DaemonSettings::new("a", &world.url));
    assert!(
        said.contains("note  database login: postgres") && said.contains("is a superuser"),
        "{said}"
    );
}

#[tokio::test]
async fn a_password_of_the_command_line_takes_all_access_and_is_for_one_login() {
    let db = TestDb::new().await;
    db.run(
        "insert into users (username, email, password_hash, role, status)
             values ('carol', 'c@example.com', 'x', 'user', 'active');
         insert into api_keys (user_id, name, prefix, secret_hash, scopes) values (1, 'a', 'a', '', '{read}');
         insert into totp_secrets (user_id, sealed, confirmed_at) values (1, '', now());
         insert into recovery_codes (user_id, hash) values (1, '')",
    )
    .await;
    let settings = DaemonSettings::new("a", &db.url);
    let run = |words: &[&str]| settings.command("user").args(words).output().unwrap();
    let said = run(&["password", "carol"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("1 API keys are revoked"), "{said}");
    let taken: bool = db
        .one(
            "select bool_and(must_change_password) and bool_and(revoked_at is not null) and bool_and(links_epoch = 1)
             from users, api_keys",
        )
        .await;
    assert!(taken);
    assert!(run(&["reset-second-factor", "carol"]).status.success());
    let left: i64 = db
        .one("select (select count(*) from totp_secrets) + (select count(*) from recovery_codes)")
        .await;
    assert_eq!(left, 0);
    let again = run(&["reset-second-factor", "carol"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(1));
    assert!(said.contains("has no second factor"), "{said}");
    let audited: String = db
        .one("select string_agg(action || ' ' || object_type, ', ' order by audit_id) from audit_log")
        .await;
    assert_eq!(audited, "change_password user, reset second_factor");
}

#[tokio::test]
async fn accounts_are_listed() {
    let db = TestDb::new().await;
    db.run(
        "insert into users (username, email, password_hash, role, status)
         values ('carol', 'carol@example.com', '', 'user', 'suspended'), ('adam', 'a@example.com', '', 'admin', 'active')",
    )
    .await;
    let settings = DaemonSettings::new("a", &db.url);
    let listed = |more: &[&str]| {
        let output = settings.command("user").arg("list").args(more).output();
        let output = output.expect("runs");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let names = text.lines().skip(1).map(|line| line.split('\t').nth(1));
        names
            .map(|name| name.expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["adam", "carol"]);
    assert_eq!(listed(&["--role", "admin"]), ["adam"]);
    assert_eq!(listed(&["--status", "suspended"]), ["carol"]);

    let refused = settings
        .command("user")
        .args(["create", "c\u{430}rol", "--email", "x@example.com"])
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_apis_document_is_printed_without_configuration() {
    let settings = DaemonSettings::new("a", "postgres://nowhere/nothing");
    let output = settings.command("openapi").output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document, capconduit::http::api::document());
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_with_what_was_tried() {
    for (url, told) in [
        (
            "postgres://someone:secret@127.0.0.1:1/nowhere",
            "127.0.0.1:1 (database nowhere, user someone)",
        ),
        // An @ in the password that was not written %40: half of it becomes the host.
        (
            "postgres://someone:sec@ret@127.0.0.1:1/nowhere",
            "is written %40",
        ),
    ] {
        let settings = DaemonSettings::new("a", url);
        let mut command = settings.command("route");
        let output = command.args(["--did", "+1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("secret") && !said.contains("ret@"), "{said}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_told_by_check_readiness_and_a_metric() {
    let db = TestDb::new().await;
    let fixture = |name: &str| {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        directory.join(name).display().to_string()
    };
    let served = |name: &str| {
        DaemonSettings::new("a", &db.url)
            .with(
                "HTTP__TLS_CERTIFICATE_FILE",
                &fixture(&format!("{name}.crt")),
            )
            .with("HTTP__TLS_KEY_FILE", &fixture(&format!("{name}.key")))
    };
    let check = |settings: &DaemonSettings| {
        let output = settings.command("check").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let expired = "the certificate expired on 2025-01-01T00:00:00Z";
    let settings = served("expired");
    let said = check(&settings);
    let line = format!("FAIL  http.tls_certificate_file: {expired}");
    assert!(said.contains(&line), "{said}");
    let daemon = settings.start();
    daemon.wait_component("certificate", expired).await;
    let (_, text) = daemon.get("/metrics").await;
    let series = "capconduit_certificate_expiry_timestamp_seconds{listener=\"http\"} 1735689600";
    assert!(text.contains(series), "{text}");

    let settings = served("first");
    let said = check(&settings);
    assert!(!said.contains("the certificate expire"), "{said}");
    let daemon = settings.start();
    daemon.wait_component("certificate", "\"ready\"").await;
}

/// Runs `capconduit erase` with these words, and `input` on its standard input.
async fn erase(
    settings: &DaemonSettings,
    words: &[&str],
    input: &str,
) -> (Option<i32>, serde_json::Value, String) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = settings.command("erase");
    let mut child = command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, said)
}

#[tokio::test]
async fn a_caller_and_a_seller_are_erased_by_the_command_line() {
    let db = TestDb::new().await;
    db.run(
        "insert into users (username, email, password_hash, role, status)
             values ('admin', 'a@leads.example', 'x', 'admin', 'active'),
                    ('alice', 'b@leads.example', 'x', 'user', 'active');
         insert into call_logs (user_id, incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                                timestamp_end, duration_seconds, billsec_seconds, call_status)
             select 2, '+18005550100', number, 'Pat', now() - interval '1 hour', now() - interval '50 minutes', 60, 50,
                    'ANSWERED'
             from unnest(array['+14155550001', '4155550001', '+14155550002']) number",
    )
    .await;
    let settings = DaemonSettings::new("a", &db.url);
    // Nothing that would keep the number.
    let kept = ["caller", "-", "--reason", "asked by 1 415 555 0001"];
    let (code, _, said) = erase(&settings, &kept, "+14155550001\n").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("leave the number out of --reason"), "{said}");
    let words = [
        "caller",
        "-",
        "--also-as",
        "(415) 555-0001",
        "--reason",
        "a letter",
    ];
    let dry = [&words[..], &["--dry-run"]].concat();
    let (code, report, said) = erase(&settings, &dry, "+1 415 555 0001\n").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["rows"]["call_logs"], 2, "{report}");
    let (code, report, said) = erase(&settings, &words, "+1 415 555 0001\n").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (&report["state"], &report["rows"]["call_logs"]),
        (&"done".into(), &2.into()),
        "{report}"
    );
    let left: String = db
        .one("select coalesce(string_agg(caller_id_num, ' '), '') from call_logs where caller_id_num like '%4155550001'")
        .await;
    assert_eq!(left, "");

    let reason = ["--reason", "contract ended"];
    let seller = |who: &'static str| [&["seller", who][..], &reason[..]].concat();
    let (code, _, said) = erase(&settings, &seller("nobody"), "").await;
    assert_eq!(code, Some(4), "{said}");
    let (code, _, said) = erase(&settings, &seller("alice"), "").await;
    assert!(
        code == Some(3) && said.contains("suspend account alice first"),
        "{said}"
    );
    db.run("update users set status = 'suspended' where id = 2")
        .await;
    let (code, report, said) = erase(&settings, &seller("alice"), "").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["state"], "done");
    let name: String = db.one("select username from users where id = 2").await;
    assert_eq!(name, "erased-2");
    let (code, _, said) = erase(&settings, &seller("erased-2"), "").await;
    assert!(code == Some(3) && said.contains("was erased"), "{said}");

    let id = report["id"].to_string();
    let (code, told, said) = erase(&settings, &["report", &id], "").await;
    assert_eq!(
        (code, &told["pseudonym"]),
        (Some(0), &"erased-2".into()),
        "{said}"
    );
    let noted: String = db
        .one(
            "select string_agg(concat_ws(':', actor, via, action, after ->> 'kind', reason), ',' order by audit_id)
             from audit_log where action = 'erase'",
        )
        .await;
    assert_eq!(
        noted,
        "command line:cli:erase:caller:a letter,command line:cli:erase:caller:a letter,\
         command line:cli:erase:seller:contract ended"
    );
}
