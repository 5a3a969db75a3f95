use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::daemon::{Daemon, DaemonSettings, call, route_at};
use crate::support::fake_ari::FakeAri;
use crate::support::journal::Journal;
use crate::support::world::{LinkSpec, link};
use crate::support::{World, eventually};

/// The channels that live, as Asterisk would list them.
#[derive(Default)]
struct Pbx {
    channels: Mutex<BTreeSet<String>>,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Pbx {
    fn show(channels: &BTreeSet<String>, asterisk: &FakeAri) {
        let list: Vec<String> = channels
            .iter()
            .map(|id| format!(r#"{{"id":"{id}","name":"PJSIP/trunk-{id}","state":"Ring"}}"#))
            .collect();
        asterisk.set_channels(&format!("[{}]", list.join(",")));
    }

    fn appear(&self, id: &str, asterisk: &FakeAri) {
        let mut channels = self.channels.lock().unwrap();
        channels.insert(id.to_owned());
        Self::show(&channels, asterisk);
    }

    fn vanish(&self, id: &str, asterisk: &FakeAri) {
        let mut channels = self.channels.lock().unwrap();
        channels.remove(id);
        Self::show(&channels, asterisk);
    }
}

/// One caller after the other, each as the dialplan would treat it: two daemons asked in turn, the call
/// held for a moment, its end reported to whoever listens.
async fn callers(
    worker: usize,
    daemons: Arc<Mutex<[SocketAddr; 2]>>,
    pbx: Arc<Pbx>,
    asterisk: Arc<FakeAri>,
    stop: Arc<AtomicBool>,
) {
    let mut random = fastrand::Rng::with_seed(worker as u64);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("1795{worker:03}.{n}");
        pbx.appear(&id, &asterisk);
        let mut verdict = String::new();
        let mut reservation = String::new();
        for turn in 0..2 {
            let address = daemons.lock().unwrap()[(worker + turn) % 2];
            if let Ok(answer) = route_at(address, &id, &[]).await
                && !answer.verdict().is_empty()
            {
                answer.verdict().clone_into(&mut verdict);
                answer
                    .get("CAPCONDUIT_RESERVATION")
                    .clone_into(&mut reservation);
                break;
            }
        }
        if !verdict.is_empty() {
            pbx.asked.fetch_add(1, Ordering::Relaxed);
        }
        let status = match (verdict.as_str(), random.bool()) {
            ("DIAL", true) => "ANSWER",
            ("DIAL", false) => "NOANSWER",
            _ => "",
        };
        if verdict == "DIAL" {
            tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
        }
        let arguments = [status, "16", "1", "2", reservation.as_str()];
        let mut told = false;
        for turn in 0..2 {
            let address = daemons.lock().unwrap()[(worker + turn) % 2];
            if call("end", &id, &arguments).run(address).await.is_ok() {
                told = true;
                break;
            }
        }
        if told && status == "ANSWER" {
            pbx.answered.fetch_add(1, Ordering::Relaxed);
        }
        pbx.vanish(&id, &asterisk);
    }
}

fn capped(client: i32, max_concurrency: i32) -> LinkSpec {
    LinkSpec {
        max_concurrency,
        ..link(client)
    }
}

/// 64 callers on two daemons against small caps, while the daemons are killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_daemons_pass_no_cap_lose_no_record_and_leave_no_slot() {
    let world = World::new("round_robin", &[capped(1, 3), capped(2, 2), capped(3, 1)]).await;
    let journal = Journal::new();
    let asterisk = Arc::new(FakeAri::start(&journal).await);
    let settings: [DaemonSettings; 2] = ["a", "b"].map(|node| {
        DaemonSettings::new(node, &world.db.url)
            .with_asterisk(asterisk.address())
            .with("LOG__LEVEL", "warn,capconduit::app=info")
    });
    let mut running: [Option<Daemon>; 2] = settings.each_ref().map(|s| Some(s.start()));
    let addresses = running.each_ref().map(|d| d.as_ref().unwrap().agi);
    // A restarted daemon listens where it did.
    let settings = [0, 1].map(|i| {
        settings[i]
            .clone()
            .with("AGI__LISTEN", &addresses[i].to_string())
    });
    for daemon in running.iter().flatten() {
        daemon.wait_ready().await;
    }
    let daemons = Arc::new(Mutex::new(addresses));
    let pbx = Arc::new(Pbx::default());
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..64)
        .map(|worker| {
            tokio::spawn(callers(
                worker,
                Arc::clone(&daemons),
                Arc::clone(&pbx),
                Arc::clone(&asterisk),
                Arc::clone(&stop),
            ))
        })
        .collect();
    for round in 0..8 {
        for _ in 0..20 {
            world.assert_sound().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let victim = round % 2;
        running[victim].take().expect("runs").kill();
        world.assert_sound().await;
        running[victim] = Some(settings[victim].start());
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    // All channels are gone; what the killed daemons left is found by the sweep.
    eventually("all slots are free", async || world.usage().await == (0, 0)).await;
    eventually("all calls are over", async || {
        world
            .db
            .one::<i64>("select count(*) from calls where ended_at is null")
            .await
            == 0
    })
    .await;
    world.assert_quiet().await;

    let asked = pbx.asked.load(Ordering::Relaxed) as i64;
    let logged: i64 = world.db.one("select count(*) from call_logs").await;
    let twice: i64 = world
        .db
        .one("select count(*) - count(distinct asterisk_uniqueid) from call_logs")
        .await;
    assert!(asked > 100, "only {asked} calls");
    assert_eq!(twice, 0, "calls logged twice");
    assert!(
        logged >= asked,
        "{logged} rows for {asked} answered questions"
    );
    let counted: i64 = world
        .db
        .one("select sum(current_total_calls) from campaign_client_settings")
        .await;
    let answered: i64 = world
        .db
        .one("select count(*) from call_attempts where outcome = 'answered'")
        .await;
    assert_eq!(counted, answered, "totals differ from answered attempts");
    assert!(counted <= pbx.answered.load(Ordering::Relaxed) as i64 + 64);
    // No more reservations of a link ever overlapped than its cap allows.
    let overlaps: i64 = world
        .db
        .one("select count(*) from (
                  select link_id, sum(change) over (partition by link_id order by at, change) as open
                  from (select link_id, held_at as at, 1 as change from reservations
                        union all
                        select link_id, ended_at, -1 from reservations) changes) history
              join campaign_client_settings s on s.id = link_id
              where open > s.max_concurrency")
        .await;
    // Times are taken just before the transaction that makes them true, so neighbours may seem to touch;
    // the counters, sampled above, are exact.
    assert!(
        overlaps <= logged / 20,
        "{overlaps} apparent overlaps in {logged} calls"
    );
}

#[tokio::test]
async fn a_daemon_killed_between_claim_and_answer_leaves_a_slot_that_is_found() {
    let world = World::new("priority", &[capped(1, 1)]).await;
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.set_channels(r#"[{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Ring"}]"#);
    let settings = DaemonSettings::new("a", &world.db.url).with_asterisk(asterisk.address());
    let daemon = settings.start();
    daemon.wait_ready().await;
    // The claim waits for a lock of ours; the daemon dies meanwhile; the claim goes through.
    world
        .db
        .run("begin; select * from campaign_client_settings for update")
        .await;
    let address = daemon.agi;
    let asking = tokio::spawn(async move { route_at(address, "1795.1", &[]).await });
    eventually("the claim waits", async || {
        world
            .db
            .one::<i64>(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                         and datname = current_database()",
            )
            .await
            > 0
    })
    .await;
    daemon.kill();
    world.db.run("rollback").await;
    let answer = asking.await.unwrap();
    assert!(answer.is_err() || answer.is_ok_and(|a| a.verdict().is_empty()));

    // The dialplan asks the next daemon; whether or not the first claim went through, one slot is held.
    let daemon = settings.start();
    daemon.wait_ready().await;
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "DIAL");
    assert_eq!(world.usage().await, (1, 0));
    // It dies again, this time after its answer; the call ends while nobody watches.
    daemon.kill();
    asterisk.set_channels("[]");
    let daemon = settings.start();
    daemon.wait_ready().await;
    eventually("slot is free", async || world.usage().await == (0, 0)).await;
    world.assert_quiet().await;
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        1
    );
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(
        metrics.contains(r#"capconduit_reconcile_repairs_total{kind="lost_call"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn calls_of_before_a_restart_are_adopted_and_settled() {
    let world = World::new("priority", &[link(1)]).await;
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.set_channels(r#"[{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Ring"}]"#);
    let settings = DaemonSettings::new("a", &world.db.url).with_asterisk(asterisk.address());
    let daemon = settings.start();
    daemon.wait_ready().await;
    daemon.route("1795.1", &[]).await.unwrap();
    daemon.kill();
    // Answered while no daemon watched.
    asterisk.set_channels(
        r#"[{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Up",
             "dialplan":{"context":"x","exten":"s","priority":1,"app_name":"Dial",
                         "app_data":"PJSIP/client1,20,g"}},
            {"id":"1795.2","name":"PJSIP/client1-00000002","state":"Up"}]"#,
    );
    asterisk.set_bridges(Some(r#"[{"id":"b","channels":["1795.1","1795.2"]}]"#));
    let daemon = settings.start();
    eventually("confirmed", async || world.usage().await == (0, 1)).await;
    // The target hangs up, then the dialplan reports; sixty seconds were talked.
    asterisk.set_channels(r#"[{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Up"}]"#);
    asterisk.send(r#"{"type":"ChannelDestroyed","cause":16,"channel":{"id":"1795.2","name":"PJSIP/client1-00000002"}}"#);
    // It lasted a while.
    world
        .db
        .run(
            "update call_attempts set answered_at = answered_at - interval '60 seconds';
              update calls set started_at = started_at - interval '90 seconds';
              update call_attempts set offered_at = offered_at - interval '90 seconds'",
        )
        .await;
    daemon
        .end("1795.1", &["ANSWER", "16", "60", "62"])
        .await
        .unwrap();
    world.assert_quiet().await;
    let log: String = world
        .db
        .one("select call_status || ' ' || billsec_seconds from call_logs")
        .await;
    assert_eq!(log, "ANSWERED 60");
}
