//! What becomes of a connection that is slow, silent, cancelled or taken.

use std::time::{Duration, Instant};

use capconduit::db::health::keeps_sessions;
use capconduit::db::request::Reach;
use capconduit::db::sql::Sql;
use capconduit::db::{Error, Store, Unavailable};
use capconduit::domain::DialledNumber;
use capconduit::routing::store::calls::AskedCall;
use capconduit::routing::store::offers::{Concurrency, Look};

use crate::support::fault_proxy::{Door, FaultProxy};
use crate::support::postgres::settings;
use crate::support::world::{Caller, link};
use crate::support::{DID, TestDb, World, eventually};

fn behind_a_door(url: &str) -> (FaultProxy, Store) {
    let (door, url) = FaultProxy::before(url, Door::Open);
    let store = Store::new(&settings(&url)).unwrap();
    (door, store)
}

/// The call as its dialplan names it.
fn named(caller: &Caller) -> AskedCall<'_> {
    AskedCall {
        uniqueid: &caller.uniqueid,
        system_name: None,
        channel: &caller.channel,
        caller_number: Some(&caller.number),
    }
}

#[tokio::test]
async fn a_silent_connection_is_given_up_in_time_and_replaced() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, store) = behind_a_door(&world.db.url);
    store.warm_up().await;
    store.ping().await.unwrap();
    door.freeze_those_inside();
    let asked = Instant::now();
    let caller = Caller::new();
    let silent = store.settle(named(&caller)).await.err().unwrap();
    assert!(matches!(silent, Error::Timeout { .. }), "{silent:?}");
    assert!(silent.is_lost_connection());
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    // Every other one is tried before it is used: no question waits in vain any more.
    for _ in 0..10 {
        let asked = Instant::now();
        assert!(store.settle(named(&caller)).await.unwrap().is_none());
        store.ping().await.unwrap();
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_takes_its_connection_along() {
    let db = TestDb::new().await;
    let (door, store) = behind_a_door(&db.url);
    store.ping().await.unwrap();
    door.freeze_those_inside();
    let cancelled = tokio::time::timeout(Duration::from_millis(50), store.check_schema()).await;
    assert!(cancelled.is_err(), "the connection is frozen");
    let asked = Instant::now();
    store.ping().await.unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_cancelled_statement_does_not_cost_its_connection() {
    let db = TestDb::new().await;
    let store = db.store();
    let process = Sql {
        name: "process",
        text: "select pg_backend_pid()",
    };
    let sleep = Sql {
        name: "sleep",
        text: "select pg_sleep(600)",
    };
    let before = store.once(Reach::Everything, process, &[]).await.unwrap();
    let before: i32 = before[0].get(0);
    let sleeping = tokio::spawn({
        let store = store.clone();
        async move { store.once(Reach::Everything, sleep, &[]).await }
    });
    eventually("it sleeps and is cancelled", async || {
        let sql = "select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity
            where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()";
        db.one::<bool>(sql).await
    })
    .await;
    let error = sleeping.await.unwrap().unwrap_err();
    assert!(
        error.is_overload() && !error.is_lost_connection(),
        "{error:?}"
    );
    let after = store.once(Reach::Everything, process, &[]).await.unwrap();
    assert_eq!(after[0].get::<_, i32>(0), before);
}

#[tokio::test]
async fn decisions_that_wait_leave_connections_to_the_ends_of_calls() {
    let world = World::new("priority", &[link(1)]).await;
    let store = world.db.store();
    let number = DialledNumber::from_untrusted(DID);
    let look = || Look {
        concurrency: Concurrency::Optimistic,
        call: None,
        system_name: None,
    };
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(store.begin_offer(&number, look()).await.unwrap());
    }
    let seventh = store.begin_offer(&number, look()).await.err().unwrap();
    let Error::Connection(Unavailable::AllInUse) = seventh else {
        panic!("{seventh:?}");
    };
    let asked = Instant::now();
    assert!(store.settle(named(&Caller::new())).await.unwrap().is_none());
    assert!(
        asked.elapsed() < Duration::from_millis(900),
        "{:?}",
        asked.elapsed()
    );
    for (_, offering) in held {
        offering.abandon().await;
    }
}

#[tokio::test]
async fn the_oldest_snapshot_is_seen() {
    let db = TestDb::new().await;
    let store = db.store();
    let none = store.oldest_snapshot().await.unwrap();
    assert!(none.seconds < 60.0, "{none:?}");
    let reader = capconduit::db::connect_as_owner(&db.settings())
        .await
        .unwrap();
    reader
        .batch_execute("begin isolation level repeatable read; select 1")
        .await
        .unwrap();
    eventually("it is seen to grow old", async || {
        store.oldest_snapshot().await.unwrap().seconds > 0.5
    })
    .await;
    reader.batch_execute("commit").await.unwrap();
    eventually("it is gone", async || {
        store.oldest_snapshot().await.unwrap().seconds < 0.5
    })
    .await;
}

#[tokio::test]
async fn clocks_on_one_host_agree_and_its_sessions_are_kept() {
    let db = TestDb::new().await;
    let offset = db
        .store()
        .clock_offset(capconduit::runtime::clock::now)
        .await
        .unwrap();
    assert!(offset.as_secs_f64().abs() < 0.5, "{offset}");
    assert!(keeps_sessions(&db.settings()).await.unwrap());
}

/// With `CAPCONDUIT_PGBOUNCER` naming the program: `cargo test --test it pooler -- --ignored`.
#[tokio::test]
#[ignore = "needs PgBouncer, which no other test does"]
async fn a_pooler_that_gives_sessions_to_transactions_is_found_out() {
    let program = std::env::var("CAPCONDUIT_PGBOUNCER").expect("names the program");
    let db = TestDb::new().await;
    for (mode, kept) in [
        ("session", true),
        ("transaction", false),
        ("statement", false),
    ] {
        let directory = crate::support::postgres::directory();
        let host = db
            .url
            .split(' ')
            .find_map(|part| part.strip_prefix("host="));
        let configuration = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\n\
             listen_port = 5432\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 5\n",
            host.unwrap(),
            directory.display()
        );
        let file = directory.join("pgbouncer.ini");
        std::fs::write(&file, configuration).unwrap();
        let mut pooler = crate::support::postgres::unprivileged(program.as_ref())
            .arg("-q")
            .arg(&file)
            .envs(std::env::vars().filter(|(name, _)| name == "LD_LIBRARY_PATH"))
            .spawn()
            .unwrap();
        let name: String = db.one("select current_database()").await;
        let url = format!("host={} user=postgres dbname={name}", directory.display());
        let settings = settings(&url);
        eventually("it pools", async || {
            capconduit::db::connect_as_owner(&settings).await.is_ok()
        })
        .await;
        let found = keeps_sessions(&settings).await;
        pooler.kill().unwrap();
        pooler.wait().unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.unwrap_or(false), kept, "{mode}");
    }
}
