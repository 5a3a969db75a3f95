//! PostgreSQL's primary goes away under calls and its standby is promoted.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use capconduit::db::Store;
use capconduit::domain::CampaignId;
use capconduit::runtime::telemetry::Chain;

use crate::support::daemon::{Daemon, DaemonSettings, route_at};
use crate::support::postgres::settings;
use crate::support::standby::{Node, signal};
use crate::support::world::link;
use crate::support::{TestDb, World, eventually};

struct Pair {
    primary: Node,
    standby: Node,
    world: World,
    daemon: Daemon,
}

impl Pair {
    async fn start() -> Self {
        let primary = Node::primary();
        let world = World::on(primary.database().await, "priority", &[link(1)]).await;
        let standby = primary.standby();
        let url = format!(
            "host={},{} user=postgres dbname=postgres",
            primary.host(),
            standby.host()
        );
        let daemon = DaemonSettings::new("a", &url).start();
        daemon.wait_ready().await;
        Self {
            primary,
            standby,
            world,
            daemon,
        }
    }

    /// The standby has all that the primary has.
    async fn wait_until_equal(&self) {
        let sql = "select coalesce(bool_and(pg_current_wal_lsn() <= flush_lsn), false)
            from pg_stat_replication";
        eventually("the standby has caught up", async || {
            self.world.db.one::<bool>(sql).await
        })
        .await;
    }

    /// Calls, one every few milliseconds, until `enough` were offered a target; returns those.
    async fn calls(&self, name: &str, enough: usize) -> Vec<String> {
        let mut offered = Vec::new();
        for number in 0..10 * enough {
            let uniqueid = format!("{name}.{number}");
            if self.daemon.route(&uniqueid, &[]).await.unwrap().verdict() == "DIAL" {
                offered.push(uniqueid);
            }
            if offered.len() == enough {
                break;
            }
        }
        assert_eq!(offered.len(), enough, "{}", self.daemon.whole_log());
        offered
    }

    /// Promotes the standby; returns how long it took from then until a call was offered a target.
    async fn fail_over(&self, name: &str) -> Duration {
        let began = Instant::now();
        self.standby.promote();
        let number = AtomicU32::new(0);
        eventually("a verdict from the new primary", async || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let answer = self.daemon.route(&format!("{name}.{number}"), &[]).await;
            answer.unwrap().verdict() == "DIAL"
        })
        .await;
        began.elapsed()
    }

    /// The calls of these that the new primary does not know.
    async fn unknown(&self, calls: &[String]) -> Vec<String> {
        let db = TestDb {
            url: format!("host={} user=postgres dbname=postgres", self.standby.host()),
            owner: self.standby.look().await,
        };
        let sql = "select asterisk_uniqueid from calls";
        let rows = db.owner.query(sql, &[]).await.unwrap();
        let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        World { db }.assert_sound().await;
        let unknown = calls.iter().filter(|call| !known.contains(call));
        unknown.cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_is_promoted_under_calls_knows_every_call_that_was_answered() {
    let pair = Pair::start().await;
    pair.world
        .db
        .run("alter system set synchronous_standby_names = '*'")
        .await;
    pair.world.db.run("select pg_reload_conf()").await;
    let sql = "select coalesce(bool_or(sync_state = 'sync'), false) from pg_stat_replication";
    eventually("the standby is synchronous", async || {
        pair.world.db.one::<bool>(sql).await
    })
    .await;
    let mut offered = pair.calls("1801", 20).await;
    // The primary dies while calls are on their way.
    let under_way: Vec<_> = (0..40)
        .map(|number| {
            let at = pair.daemon.agi;
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5 * number)).await;
                let uniqueid = format!("1802.{number}");
                let answer = route_at(at, &uniqueid, &[]).await.unwrap();
                (answer.verdict() == "DIAL").then_some(uniqueid)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    pair.primary.crash();
    for call in under_way {
        offered.extend(call.await.unwrap());
    }
    let took = pair.fail_over("1803").await;
    let lost = pair.unknown(&offered).await;
    println!(
        "synchronous: {} calls, verdict {took:?} after promotion, lost {lost:?}",
        offered.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert!(
        pair.daemon.logged("PostgreSQL has a new primary").is_some(),
        "{}",
        pair.daemon.whole_log()
    );
    pair.daemon.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_that_is_promoted_lacks_what_it_had_not_received_and_no_more() {
    let pair = Pair::start().await;
    let before = pair.calls("1801", 20).await;
    pair.wait_until_equal().await;
    // What the primary writes from here on never leaves it.
    let sender: i32 = pair
        .world
        .db
        .one("select pid from pg_stat_replication")
        .await;
    signal(sender, "STOP");
    let after = pair.calls("1802", 10).await;
    pair.primary.crash();
    let took = pair.fail_over("1803").await;
    let all = [before, after.clone()].concat();
    let lost = pair.unknown(&all).await;
    println!(
        "asynchronous: {} calls, verdict {took:?} after promotion, lost {lost:?}",
        all.len()
    );
    assert!(lost.iter().all(|call| after.contains(call)), "{lost:?}");
    assert!(
        !lost.is_empty(),
        "nothing was lost: this test shows nothing"
    );
    let said = pair.daemon.logged("PostgreSQL has a new primary").unwrap();
    assert!(
        said.contains(r#""before":1"#) && said.contains(r#""now":2"#),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_tells_of_a_new_timeline_and_never_goes_back_to_the_old_primary() {
    let mut primary = Node::primary();
    drop(primary.database().await);
    let standby = primary.standby();
    let url = format!(
        "host={},{} user=postgres dbname=postgres",
        standby.host(),
        primary.host()
    );
    let store = Store::new(&settings(&url)).unwrap();
    let mut cluster = store.cluster();
    assert_eq!(*cluster.borrow(), None);
    store.ping().await.unwrap();
    let timeline = cluster.borrow_and_update().unwrap().timeline;
    assert_eq!(timeline, 1, "the standby was passed over");
    primary.crash();
    standby.promote();
    eventually("the new primary is found", async || {
        store.ping().await.is_ok()
    })
    .await;
    assert_eq!(cluster.borrow_and_update().unwrap().timeline, 2);
    primary.restart();
    standby.crash();
    let refused = async || Chain(&store.ping().await.unwrap_err()).to_string();
    eventually("the old primary is refused", async || {
        refused()
            .await
            .contains("is on timeline 1, and timeline 2 was seen")
    })
    .await;
    assert!(!cluster.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_any_more_is_left_and_taken_again_when_it_does() {
    let node = Node::primary();
    let World { db } = World::on(node.database().await, "priority", &[link(1)]).await;
    db.run("set default_transaction_read_only = off").await;
    let store = Store::new(&settings(&db.url)).unwrap();
    store.warm_up().await;
    store.ping().await.unwrap();
    for (read_only, usable) in [("on", false), ("off", true)] {
        db.run(&format!(
            "alter system set default_transaction_read_only = {read_only}"
        ))
        .await;
        db.run("select pg_reload_conf()").await;
        eventually("the first write or look finds it out", async || {
            let wrote = store.add_missing_rows(CampaignId(1)).await;
            wrote.is_ok() == usable
        })
        .await;
        // Not one by one: all other connections are left with the first.
        let looked = store.ping().await;
        assert_eq!(looked.is_ok(), usable, "{looked:?}");
    }
}
