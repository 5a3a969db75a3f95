use std::io::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::agi_client::AgiCall;
use crate::support::daemon::{DaemonSettings, route_at};
use crate::support::fake_ari::FakeAri;
use crate::support::fault_proxy::{Door, FaultProxy};
use crate::support::journal::Journal;
use crate::support::postgres::settings;
use crate::support::world::link;
use crate::support::{TestDb, World, eventually};

#[tokio::test]
async fn a_call_is_routed_and_settled_and_seen_in_the_metrics() {
    let world = World::new("priority", &[link(1)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    daemon.wait_ready().await;
    let offer = daemon.route("1795.1", &[]).await.unwrap();
    assert_eq!(offer.verdict(), "DIAL");
    assert_eq!(offer.get("CAPCONDUIT_ENDPOINT"), "client1");
    assert_eq!(offer.order.last().unwrap(), "CAPCONDUIT_VERDICT");
    daemon
        .end("1795.1", &["ANSWER", "16", "3", "5"])
        .await
        .unwrap();
    world.assert_quiet().await;
    let (status, metrics) = daemon.get("/metrics").await;
    assert_eq!(status, 200);
    for expected in [
        r#"capconduit_route_decisions_total{verdict="DIAL",reason="none"} 1"#,
        "capconduit_route_decision_seconds_count 1",
        "capconduit_usage_drift 0",
        "capconduit_build_info",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
}

#[tokio::test]
async fn a_begun_session_is_finished_after_sigterm_and_nothing_new_is_taken() {
    let world = World::new("priority", &[link(1)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    daemon.wait_ready().await;
    // A session whose environment has begun but not ended.
    let mut peer = tokio::net::TcpStream::connect(daemon.agi).await.unwrap();
    let environment = AgiCall::new("ping", "1.1", &[]).environment_bytes();
    let (first, rest) = environment.split_at(40);
    tokio::io::AsyncWriteExt::write_all(&mut peer, first)
        .await
        .unwrap();
    eventually("session is open", async || {
        daemon
            .get("/metrics")
            .await
            .1
            .contains("capconduit_agi_sessions_active 1")
    })
    .await;
    daemon.signal(Signal::TERM);
    eventually("draining", async || daemon.logged("draining").is_some()).await;
    tokio::io::AsyncWriteExt::write_all(&mut peer, rest)
        .await
        .unwrap();
    let mut answer = [0_u8; 12];
    tokio::io::AsyncReadExt::read_exact(&mut peer, &mut answer)
        .await
        .unwrap();
    assert_eq!(&answer, b"SET VARIABLE");
    drop(peer);
    assert_eq!(daemon.ended().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let world = World::new("priority", &[link(1)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    let mut peer = tokio::net::TcpStream::connect(daemon.agi).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut peer, b"agi_network: yes\n")
        .await
        .unwrap();
    eventually("session is open", async || {
        daemon
            .get("/metrics")
            .await
            .1
            .contains("capconduit_agi_sessions_active 1")
    })
    .await;
    daemon.signal(Signal::TERM);
    eventually("draining", async || daemon.logged("draining").is_some()).await;
    let asked = std::time::Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await, Some(0));
    assert!(asked.elapsed() < std::time::Duration::from_secs(2));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key() {
    let db = TestDb::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for key in ["AGI__LISTEN", "HTTP__LISTEN", "OPS__LISTEN"] {
        let output = DaemonSettings::new("a", &db.url)
            .with(key, &taken.local_addr().unwrap().to_string())
            .command("serve")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let key = key.to_lowercase().replace("__", ".");
        assert!(log.contains(&key), "{key} in {log}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_names_key_and_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "[database]\nurl = \"host=/x\"\n\n[agi]\nlisten = \"127.0.0.1:0\"\nlitsen = 1"
    )
    .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_capconduit"))
        .env_clear()
        .args(["serve", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("litsen") && said.contains(":6"), "{said}");
}

#[tokio::test]
async fn readiness_names_a_schema_that_is_missing_and_recovers_when_it_is_made() {
    let db = TestDb::empty().await;
    let settings = DaemonSettings::new("a", &db.url);
    let daemon = settings.start();
    daemon.wait_component("schema", "capconduit migrate").await;
    let answer = daemon.route("1795.1", &[]).await.unwrap();
    assert_eq!(answer.verdict(), "", "no verdict: the dialplan falls back");
    let migrated = settings.command("migrate").output().unwrap();
    assert!(migrated.status.success());
    daemon.wait_ready().await;
    assert_eq!(
        daemon.route("1795.2", &[]).await.unwrap().verdict(),
        "REJECT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_what_is_wrong_with_ari() {
    let world = World::new("priority", &[link(1)]).await;
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.refuse_password(true);
    let settings = DaemonSettings::new("a", &world.db.url).with_asterisk(asterisk.address());
    let daemon = settings.start();
    daemon
        .wait_component("ari:pbx", "refuses user or password")
        .await;
    daemon.wait_component("database", "\"ready\"").await;
    // Routing goes on without it.
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "DIAL");
    let checked = settings.command("check").output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("FAIL  asterisk pbx")
            && said.contains("ok    schema")
            && !said.contains("did not answer"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_module_that_a_call_needs_and_asterisk_lacks() {
    let db = TestDb::new().await;
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let settings = DaemonSettings::new("a", &db.url).with_asterisk(asterisk.address());
    let checked = settings.command("check").output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("res_config_odbc.so does not run"), "{said}");
    assert!(!said.contains("res_agi.so"), "{said}");
}

#[tokio::test]
async fn an_asterisk_that_comes_later_is_watched_then() {
    let world = World::new("priority", &[link(1)]).await;
    let placeholder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = placeholder.local_addr().unwrap();
    drop(placeholder);
    let daemon = DaemonSettings::new("a", &world.db.url)
        .with_asterisk(address)
        .start();
    daemon.wait_component("ari:pbx", "not ready").await;
    let journal = Journal::new();
    let _asterisk = FakeAri::start_on(address, &journal).await;
    daemon.wait_ready().await;
}

#[tokio::test]
async fn the_command_line_explains_a_decision() {
    let mut small = link(2);
    small.max_concurrency = 1;
    let world = World::new("priority", &[small, link(3)]).await;
    let settings = DaemonSettings::new("a", &world.db.url);
    let daemon = settings.start();
    daemon.wait_ready().await;
    daemon.route("1795.1", &[]).await.unwrap();
    let mut explain = settings.command("route");
    let output = explain
        .args(["--did", "18005550100", "--explain"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("concurrency_cap_reached") && said.contains("1 of 1"),
        "{said}"
    );
    assert!(
        said.ends_with("DIAL client3 (link 2, ring 20 s)\n"),
        "{said}"
    );
    let mut unknown = settings.command("route");
    let output = unknown.args(["--did", "999"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "REJECT did_not_found\n"
    );
}

#[tokio::test]
async fn users_are_made_once_and_sample_data_goes_into_an_empty_database_only() {
    let db = TestDb::empty().await;
    let settings = DaemonSettings::new("a", &db.url);
    let sample = settings
        .command("migrate")
        .arg("--sample-data")
        .output()
        .unwrap();
    assert!(
        sample.status.success(),
        "{}",
        String::from_utf8_lossy(&sample.stderr)
    );
    assert_eq!(db.one::<i64>("select count(*) from users").await, 5);
    let said = String::from_utf8_lossy(&sample.stdout).into_owned();
    for account in [
        "platform_admin (admin, active)",
        "seller_pending (user, pending_approval)",
    ] {
        assert!(said.contains(account), "{said}");
    }
    assert!(said.contains("capconduit user password"), "{said}");
    let sample_hash: String = db.one("select min(password_hash) from users").await;
    let same: i64 = db
        .one("select count(distinct password_hash) from users")
        .await;
    assert_eq!(same, 1);
    assert!(sample_hash.starts_with("$argon2id$"), "{sample_hash}");
    assert!(!capconduit::accounts::password::verify(
        "password",
        &sample_hash
    ));
    let given = settings
        .command("user")
        .args(["password", "platform_admin"])
        .output()
        .unwrap();
    assert!(given.status.success());
    let hash: String = db.one("select password_hash from users where id = 1").await;
    assert!(hash.starts_with("$argon2id$") && hash != sample_hash);
    let again = settings
        .command("migrate")
        .arg("--sample-data")
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    let create = || {
        let mut user = settings.command("user");
        user.args([
            "create",
            "carol",
            "--email",
            "carol@example.com",
            "--role",
            "admin",
        ]);
        user.output().unwrap()
    };
    let made = create();
    assert!(made.status.success());
    assert!(String::from_utf8_lossy(&made.stdout).contains("one-time password"));
    let taken = create();
    assert!(String::from_utf8_lossy(&taken.stderr).contains("username is taken"));
    let hash: String = db
        .one("select password_hash from users where username = 'carol'")
        .await;
    assert!(hash.starts_with("$argon2id$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_no_call_waiting_for_an_http_client_that_is_not_done() {
    let world = World::new("priority", &[link(1)]).await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let agi = socket.local_addr().unwrap();
    let settings = DaemonSettings::new("a", &world.db.url);
    let daemon = settings.start_on(&socket, &[]);
    daemon.wait_ready().await;
    let mut half = tokio::net::TcpStream::connect(daemon.http).await.unwrap();
    let text = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut half, text)
        .await
        .unwrap();

    let over = tokio_util::sync::CancellationToken::new();
    let calls = tokio::spawn({
        let over = over.clone();
        async move {
            let mut waiting = tokio::task::JoinSet::new();
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            for number in 0.. {
                tick.tick().await;
                if over.is_cancelled() {
                    break;
                }
                waiting.spawn(async move {
                    let asked = Instant::now();
                    let answer = route_at(agi, &format!("1798.{number}"), &[]).await;
                    (answer.unwrap().verdict().to_owned(), asked.elapsed())
                });
            }
            waiting.join_all().await
        }
    });
    // Restarted as systemd does it: the next one begins when the last one has ended.
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await, Some(0));
    let next = settings.start_on(&socket, &[]);
    next.wait_ready().await;
    over.cancel();
    let answers = calls.await.unwrap();
    assert!(answers.len() > 5, "{answers:?}");
    for (verdict, waited) in &answers {
        assert_eq!(verdict, "DIAL", "{answers:?}");
        assert!(*waited < Duration::from_millis(1_500), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_by_a_daemon_on_systemds_socket() {
    let db = TestDb::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let notices = tokio::net::UnixDatagram::bind(&path).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let systemd = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let daemon = DaemonSettings::new("a", &db.url).start_on(&socket, &systemd);
    let mut fed = 0;
    let mut notice = [0_u8; 256];
    while fed < 3 {
        let waited = tokio::time::timeout(Duration::from_secs(10), notices.recv(&mut notice)).await;
        let length = waited.expect("it is fed").unwrap();
        fed += u32::from(notice[..length].starts_with(b"WATCHDOG=1"));
    }
    assert!(
        daemon.logged("self-check").is_none(),
        "{}",
        daemon.whole_log()
    );
}

/// What a migration on its own said, which must come to an end and fail.
async fn failed_migration(settings: &DaemonSettings) -> String {
    let mut migrate = settings.command("migrate");
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || migrate.output().unwrap());
    let output = output.await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_ends_when_the_server_is_silent_or_somebody_else_does_not_finish() {
    let db = TestDb::empty().await;
    let locked = TestDb::empty().await;
    locked
        .run("select pg_advisory_lock(7161128454869378165)")
        .await;
    let key: i64 = locked.one("select (classid::bigint << 32) | objid::bigint from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()").await;
    assert_eq!(key, 0x6361_7063_6f6e_6475);
    // It accepts and says nothing.
    let (_silent, url) = FaultProxy::before(&db.url, Door::BlackHole);
    let silent = DaemonSettings::new("a", &url);
    // It falls silent while a migration waits for its answer: nobody else sees the server at work on it.
    let frozen = TestDb::empty().await;
    let (freezing, url) = FaultProxy::before(&frozen.url, Door::Open);
    let freezes = DaemonSettings::new("a", &url);
    frozen
        .run("select pg_advisory_lock(7161128454869378165)")
        .await;
    let while_frozen = async {
        eventually("it asks for the lock", async || {
            let sql = "select exists (select from pg_stat_activity
                where datname = current_database() and query like '%pg_try_advisory_lock%' and pid <> pg_backend_pid())";
            frozen.one::<bool>(sql).await
        })
        .await;
        freezing.freeze_those_inside();
        frozen
            .run("select pg_advisory_unlock(7161128454869378165)")
            .await;
    };
    let waits = DaemonSettings::new("a", &locked.url);
    let (silent, locked, frozen, ()) = tokio::join!(
        failed_migration(&silent),
        failed_migration(&waits),
        failed_migration(&freezes),
        while_frozen,
    );
    assert!(silent.contains("no answer within 10s"), "{silent}");
    assert!(
        locked.contains("another process has been migrating"),
        "{locked}"
    );
    assert!(
        frozen.contains("the database has been silent for 10 s"),
        "{frozen}"
    );
}

#[tokio::test]
async fn a_migration_that_the_server_works_on_may_take_its_time() {
    let db = TestDb::empty().await;
    db.run("create function slow() returns event_trigger language plpgsql as $$
                begin perform pg_sleep(12) where tg_tag = 'CREATE TABLE'; drop event trigger slow; end $$;
            create event trigger slow on ddl_command_start when tag in ('CREATE TABLE') execute function slow()")
        .await;
    let mut migrate = DaemonSettings::new("a", &db.url).command("migrate");
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || migrate.output().unwrap());
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(began.elapsed() > Duration::from_secs(12), "it was not slow");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_before_anything_is_made() {
    let db = TestDb::empty().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("other_{}", encoding.to_lowercase());
        let current: String = db.one("select current_database()").await;
        db.run(&format!(
            "create database {current}_{name} encoding '{encoding}' template template0 locale 'C'"
        ))
        .await;
        let url = db.url.replace(
            &format!("dbname={current}"),
            &format!("dbname={current}_{name}"),
        );
        let said = failed_migration(&DaemonSettings::new("a", &url)).await;
        assert!(said.contains(&format!("encoding is {encoding}")), "{said}");
        let other = capconduit::db::connect_as_owner(&settings(&url))
            .await
            .unwrap();
        let made = other
            .query_one("select to_regclass('schema_migrations') is null", &[])
            .await;
        assert!(made.unwrap().get::<_, bool>(0), "nothing was made");
    }
}
