//! Migrations beside a running daemon: calls go on, in the statements of version 5, while the schema is brought up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use capconduit::db::migrate::{self, migrate};
use capconduit::db::{Settings, connect_as_owner};
use capconduit::runtime::digest::hex;
use sha2::{Digest as _, Sha256};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{TestDb, eventually};

/// As sessions of that version began. A statement that waits for a lock gives up after 200 ms;
/// the time for a whole statement is longer here, for machines that are busy with other tests.
const SESSION: &str = "set role capconduit_app; set lock_timeout = '200ms'; set statement_timeout = '10s';
    set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; set timezone = 'UTC'";

/// What that version ran for each call.
const STATEMENTS: [&str; 9] = [
    "routing_view",
    "call_under_way",
    "claim",
    "lock_call",
    "attempts_of_call",
    "confirm",
    "settle_attempt",
    "close_call",
    "log_unrouted_call",
];

const VERSION: i32 = 5;

const ROWS: i64 = 300_000;

fn read(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// A database as version 5 left it, with a seller, and with history of every kind.
async fn version_5() -> TestDb {
    let db = TestDb::empty().await;
    db.run(
        "create table schema_migrations (version int primary key, name text not null, checksum text not null,
                                         applied_at timestamptz not null default now());
         grant select on schema_migrations to public",
    )
    .await;
    for migration in migrate::MIGRATIONS.iter().filter(|m| m.version <= VERSION) {
        let (version, name) = (migration.version, migration.name);
        let sql = read(&format!("sql/migrations/{version:04}_{name}.sql"));
        // Roles are the whole server's: another test may be making them at this moment.
        let mut tries = 0;
        while let Err(error) = db
            .owner
            .batch_execute(&format!("begin; {sql}; commit"))
            .await
        {
            tries += 1;
            assert!(tries < 20, "{error:?}");
            db.run("rollback").await;
        }
        let checksum = hex(&Sha256::digest(sql.as_bytes()));
        db.run(&format!(
            "insert into schema_migrations values ({version}, '{name}', '{checksum}')"
        ))
        .await;
    }
    db.run(
        "insert into users (username, email, password_hash, role, status)
             values ('seller', 'seller@example.com', 'x', 'user', 'active');
         insert into dids (number, user_id, status) values ('+18005550100', 1, 'active');
         insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
             values (1, 'campaign', 'active', 'priority', 20);
         insert into campaign_dids values (1, 1);
         insert into clients (client_identifier, name, status) values ('client1', 'Client', 'active');
         insert into pjsip_endpoints (id, client_id, context) values ('client1', 1, 'none');
         insert into pjsip_aors (id, client_id, contact) values ('client1', 1, 'sip:127.0.0.1:5999');
         insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, forwarding_priority,
                                               weight)
             values (1, 1, 'active', 1000, 0, 1)",
    )
    .await;
    db.run(&format!(
        "select ensure_call_log_partitions((now() - interval '1 year')::date, 14);
         insert into call_logs (id, user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                                incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
             select 10000000 + n, 1, 1, 1, 1, 1, '+18005550100', now() - n * interval '100 seconds', 'ANSWERED',
                    'past.' || n
             from generate_series(1, {ROWS}) n;
         insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id,
                                    offered_at, ring_timeout_seconds, ended_at, outcome)
             select 10000000 + n, 1, n, 1, 1, 1, 'client1', now() - n * interval '100 seconds', 20, now(), 'failed'
             from generate_series(1, {ROWS}) n;
         insert into decisions (call_id, attempt, user_id, campaign_id, node_name, decided_at, verdict, link_id,
                                question, ranking)
             select 10000000 + n, 1, 1, 1, 'a', now() - n * interval '100 seconds', 'DIAL', 1, '{{}}', '[]'
             from generate_series(1, {ROWS}) n;
         insert into audit_log (at, actor, via, user_id, action, object_type, object_id)
             select now() - n * interval '100 seconds', 'a', 'cli', 1, 'update', 'campaign', n
             from generate_series(1, 10000) n"
    ))
    .await;
    db
}

async fn session(settings: &Settings) -> Client {
    let client = connect_as_owner(settings).await.unwrap();
    client.batch_execute(SESSION).await.unwrap();
    for name in STATEMENTS {
        let statement = read(&format!("tests/it/store/version_5/{name}.sql"));
        let prepare = format!("prepare {name} as {statement}");
        client.batch_execute(&prepare).await.unwrap();
    }
    client
}

/// Runs a statement, three times at most where it waits too long for a lock: as the daemon does.
async fn run(
    client: &Client,
    statement: &str,
) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
    let mut tries = 1;
    loop {
        match client.simple_query(statement).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries < 3 => {
                tries += 1;
                client.batch_execute("rollback").await?;
            }
            done => return done,
        }
    }
}

/// The first value of the first row, if there is a row.
fn first_value(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// A call from its question to its record, and one that only the fallback carried.
async fn call(client: &Client, uniqueid: &str) -> Result<(), tokio_postgres::Error> {
    let view = run(client, "execute routing_view('{+18005550100}')").await?;
    assert!(first_value(&view).is_some(), "the DID was found");
    let claim = format!(
        "execute claim(null, 1, 1, '{uniqueid}', '{uniqueid}', 'PJSIP/trunk-1', null, 'a', 1, 1, 1,
                       '+18005550100', null, null, now(), 14400, 1, 'client1', 20, '{{}}', '[]', '{{}}',
                       null, null, now(), now(), null)"
    );
    let claimed = run(client, &claim).await?;
    let call_id = first_value(&claimed).expect("a slot");
    let mut attempt_seen = false;
    // The snapshot of an EXECUTE in words may be from before a table was written anew, and then shows it empty, once. The
    // daemon's statements take theirs after their locks.
    for _ in 0..2 {
        let looked = run(client, &format!("execute call_under_way('{uniqueid}')")).await?;
        attempt_seen |= looked.iter().any(|message| {
            matches!(message, SimpleQueryMessage::Row(row) if row.get("endpoint_id") == Some("client1"))
        });
    }
    assert!(attempt_seen, "the attempt of {uniqueid} was found");
    run(client, &format!("execute confirm({call_id}, 1, now())")).await?;
    let end = format!(
        "begin;
         execute lock_call('{uniqueid}');
         execute attempts_of_call('{uniqueid}');
         execute settle_attempt({call_id}, true, 'released', now(), 'answered', 'ANSWER', 16, now());
         execute close_call({call_id}, now(), 1, 1, now(), 0, 0, 'ANSWERED', 16, 'Normal', 1);
         commit"
    );
    run(client, &end).await?;
    let other = format!("{uniqueid}.fallback");
    let unrouted = format!(
        "execute log_unrouted_call('{other}', '{other}', 'PJSIP/trunk-2', null, 'a', '{{+18005550100}}',
                                   '+18005550100', null, null, now(), now(), null, 0, 0, 'FAILED', 16, 'Normal')"
    );
    run(client, &unrouted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_the_version_before_go_on_while_migrations_run() {
    let db = version_5().await;
    let over = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU32::new(0));
    let mut daemons = Vec::new();
    for daemon in 0..3 {
        let client = session(&db.settings()).await;
        let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
        daemons.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                let began = Instant::now();
                let done = call(&client, &format!("now.{daemon}.{n}")).await;
                done.expect("a call is routed and recorded");
                slowest = slowest.max(began.elapsed());
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            slowest
        }));
    }
    let so_many = async |n: u32| {
        let then = calls.load(Ordering::Relaxed) + n;
        eventually("calls are made", async || {
            calls.load(Ordering::Relaxed) >= then
                || daemons.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    };
    so_many(20).await;
    let mut owner = connect_as_owner(&db.settings()).await.unwrap();
    let began = Instant::now();
    let migrated = migrate(&mut owner).await;
    let took = began.elapsed();
    // The same daemons, with what they have prepared, go on after it.
    so_many(20).await;
    over.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for daemon in daemons {
        slowest = slowest.max(daemon.await.expect("no call failed"));
    }
    migrated.expect("migrates");
    migrate::check(&owner).await.expect("is current");
    let calls = i64::from(calls.load(Ordering::Relaxed));
    println!("migrated in {took:?} beside {calls} calls, the slowest of which took {slowest:?}");

    for (table, rows) in [
        ("call_logs", ROWS + 2 * calls),
        ("call_attempts", ROWS + calls),
        ("decisions", ROWS + calls),
        ("audit_log", 10_000),
    ] {
        let found: i64 = db.one(&format!("select count(*) from {table}")).await;
        assert_eq!(found, rows, "{table}");
        let kind: String = db
            .one(&format!(
                "select relkind::text from pg_class where oid = '{table}'::regclass"
            ))
            .await;
        assert_eq!(kind, "p", "{table}");
        let strays: i64 = db
            .one(&format!("select count(*) from {table}_default"))
            .await;
        assert_eq!(strays, 0, "{table}");
    }
    let double: i64 = db
        .one(
            "select (select count(*) - count(distinct decision_id) from decisions)
                  + (select count(*) - count(distinct (call_id, attempt)) from call_attempts)",
        )
        .await;
    assert_eq!(double, 0);
    let open: i64 = db
        .one(
            "select (select sum(held + confirmed) from link_usage)
                   + (select count(*) from call_attempts where ended_at is null)",
        )
        .await;
    assert_eq!(open, 0);
    // Rows and rights of the first partitions are those of the table.
    let readable: i64 = db
        .one("select count(*) from pg_class c, unnest(array['capconduit_app', 'capconduit_api', 'capconduit_admin']) r
              where c.relname ~ '^(call_attempts|decisions|audit_log)_(until_)?[0-9]'
                and has_table_privilege(r, c.oid, 'select, insert, update, delete')")
        .await;
    assert_eq!(readable, 0);
    let guards: i64 = db
        .one("select count(*) from pg_constraint where conname ~ '_(before|month)_check$'")
        .await;
    assert_eq!(guards, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waits_its_turn_for_a_long_reader_without_holding_up_others() {
    let db = version_5().await;
    let reader = connect_as_owner(&db.settings()).await.unwrap();
    let look = "begin; select count(*) from decisions; select count(*) from call_attempts";
    reader.batch_execute(look).await.unwrap();
    let client = session(&db.settings()).await;
    let mut owner = connect_as_owner(&db.settings()).await.unwrap();
    let migrating = tokio::spawn(async move { migrate(&mut owner).await.map(|done| done.len()) });
    for n in 0..200 {
        let done = call(&client, &format!("now.{n}")).await;
        done.expect("a call is routed and recorded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!migrating.is_finished());
    reader.batch_execute("rollback").await.unwrap();
    let applied = migrating.await.unwrap().expect("migrates");
    assert_eq!(applied as i32, migrate::CURRENT - VERSION);
}
