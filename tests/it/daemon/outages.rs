use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, DaemonSettings, route_at};
use crate::support::fake_ari::FakeAri;
use crate::support::fault_proxy::{Door, FaultProxy};
use crate::support::journal::Journal;
use crate::support::world::link;
use crate::support::{World, eventually};

/// What the dialplan is promised, and some for a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_database_that_is_down_at_start_costs_calls_their_verdict_but_no_time() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Closed);
    let daemon = DaemonSettings::new("a", &url).start();
    daemon.wait_component("database", "not ready").await;
    let asked = Instant::now();
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "");
    assert!(asked.elapsed() < ANSWER_LIMIT);
    door.set(Door::Open);
    daemon.wait_ready().await;
    eventually("routes", async || {
        daemon.route("1795.2", &[]).await.unwrap().verdict() == "DIAL"
    })
    .await;
}

#[tokio::test]
async fn a_database_that_goes_silent_is_given_up_in_time_and_used_again_when_it_speaks() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Open);
    let daemon = DaemonSettings::new("a", &url).start();
    daemon.wait_ready().await;
    door.set(Door::BlackHole);
    let asked = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|i| {
            tokio::spawn({
                let at = daemon.agi;
                async move { route_at(at, &format!("1795.{i}"), &[]).await }
            })
        })
        .collect();
    for one in calls {
        assert_eq!(one.await.unwrap().unwrap().verdict(), "");
    }
    assert!(
        asked.elapsed() < ANSWER_LIMIT + Duration::from_millis(500),
        "{:?}",
        asked.elapsed()
    );
    door.set(Door::Closed);
    door.set(Door::Open);
    eventually("routes again", async || {
        daemon.route("1795.99", &[]).await.unwrap().verdict() == "DIAL"
    })
    .await;
}

#[tokio::test]
async fn ends_reported_during_an_outage_survive_the_daemon() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Open);
    let directory = tempfile::tempdir().unwrap();
    let settings = DaemonSettings::new("a", &url).with_state_directory(directory.path());
    let daemon = settings.start();
    daemon.wait_ready().await;
    daemon.route("1795.1", &[]).await.unwrap();
    door.set(Door::Closed);
    daemon.wait_component("database", "not ready").await;
    let busy = ["BUSY", "17", "", "4"];
    daemon.end("1795.1", &busy).await.unwrap();
    // This one the dialplan's fallback carried: nobody else knows of it.
    let fallback = ["ANSWER", "16", "3", "5", "fallback"];
    daemon.end("1795.2", &fallback).await.unwrap();
    eventually("written", async || {
        let waiting = std::fs::read_to_string(directory.path().join("ends-to-settle.jsonl"));
        waiting.unwrap().lines().count() == 2
    })
    .await;
    daemon.kill();
    door.set(Door::Open);
    let daemon = settings.start();
    daemon.wait_ready().await;
    eventually("settled", async || {
        let logged: Option<String> = world
            .db
            .one("select string_agg(call_status || ' ' || billsec_seconds, ', ' order by asterisk_uniqueid) from call_logs")
            .await;
        logged.as_deref() == Some("BUSY 0, ANSWERED 3")
    })
    .await;
    world.assert_quiet().await;
    eventually("cleared", async || {
        let waiting = std::fs::read_to_string(directory.path().join("ends-to-settle.jsonl"));
        waiting.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn ends_reported_during_an_outage_are_settled_after_it() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Open);
    let daemon = DaemonSettings::new("a", &url).start();
    daemon.wait_ready().await;
    for uniqueid in ["1795.1", "1795.2"] {
        daemon.route(uniqueid, &[]).await.unwrap();
    }
    // It lasted a while.
    world
        .db
        .run(
            "update calls set started_at = started_at - interval '90 seconds';
              update call_attempts set offered_at = offered_at - interval '90 seconds'",
        )
        .await;
    door.set(Door::Closed);
    daemon.wait_component("database", "not ready").await;
    daemon
        .end("1795.1", &["ANSWER", "16", "30", "35"])
        .await
        .unwrap();
    daemon
        .end("1795.2", &["BUSY", "17", "", "4"])
        .await
        .unwrap();
    assert_eq!(world.usage().await, (2, 0));
    door.set(Door::Open);
    eventually("settled", async || world.usage().await == (0, 0)).await;
    world.assert_quiet().await;
    let log: String = world
        .db
        .one("select string_agg(call_status || ' ' || billsec_seconds, ', ' order by id) from call_logs")
        .await;
    assert_eq!(log, "ANSWERED 30, BUSY 0");
}

#[tokio::test]
async fn what_ari_saw_during_an_outage_is_settled_after_it() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Open);
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.set_channels(
        r#"[{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Ring","creationtime":"2026-11-21T00:00:00.000+0000"}]"#,
    );
    let daemon = DaemonSettings::new("a", &url)
        .with_asterisk(asterisk.address())
        .start();
    daemon.wait_ready().await;
    daemon.route("1795.1", &[]).await.unwrap();
    door.set(Door::Closed);
    daemon.wait_component("database", "not ready").await;
    asterisk.send(
        r#"{"type":"Dial","timestamp":"2026-11-21T00:00:05.000+0000","dialstatus":"ANSWER",
            "caller":{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Ring"},
            "peer":{"id":"1795.5","name":"PJSIP/client1-00000005","state":"Up"}}"#,
    );
    asterisk.send(
        r#"{"type":"ChannelDestroyed","timestamp":"2026-11-21T00:00:09.000+0000","cause":16,
            "channel":{"id":"1795.1","name":"PJSIP/trunk-1795.1","state":"Up"}}"#,
    );
    asterisk.set_channels("[]");
    // Heard, but kept: the engine does not answer.
    daemon.wait_component("ari:pbx", "out of sync").await;
    door.set(Door::Open);
    eventually("settled", async || world.usage().await == (0, 0)).await;
    world.assert_quiet().await;
    let log: String = world
        .db
        .one("select call_status || ' ' || current_total_calls from call_logs, campaign_client_settings")
        .await;
    assert_eq!(log, "ANSWERED 1");
}

#[tokio::test]
async fn a_lock_held_by_somebody_else_costs_a_verdict_not_a_wait() {
    let world = World::new("priority", &[link(1)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    daemon.wait_ready().await;
    world
        .db
        .run("begin; select * from campaign_client_settings for update")
        .await;
    let asked = Instant::now();
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "");
    assert!(asked.elapsed() < ANSWER_LIMIT);
    world.db.run("rollback").await;
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "DIAL");
}

#[tokio::test]
async fn backends_killed_under_the_daemon_are_replaced() {
    let world = World::new("round_robin", &[link(1), link(2)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    daemon.wait_ready().await;
    for round in 0..5 {
        world
            .db
            .run("select pg_terminate_backend(pid) from pg_stat_activity
                  where application_name like 'capconduit %' and application_name <> 'capconduit admin'
                    and datname = current_database()")
            .await;
        eventually("routes again", async || {
            let answer = daemon.route(&format!("1795.{round}"), &[]).await.unwrap();
            answer.verdict() == "DIAL"
        })
        .await;
        daemon
            .end(&format!("1795.{round}"), &["ANSWER", "16", "1", "1"])
            .await
            .unwrap();
    }
    eventually("settled", async || world.usage().await == (0, 0)).await;
    world.assert_quiet().await;
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        5
    );
}

#[tokio::test]
async fn a_server_that_ends_all_connections_costs_one_line_of_the_log() {
    let world = World::new("priority", &[link(1)]).await;
    let daemon = DaemonSettings::new("a", &world.db.url).start();
    daemon.wait_ready().await;
    world
        .db
        .run(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where application_name like 'capconduit %' and application_name <> 'capconduit admin'
                and datname = current_database()",
        )
        .await;
    eventually("it is told", async || {
        daemon
            .logged("connections to PostgreSQL were lost")
            .is_some()
    })
    .await;
    eventually("routes again", async || {
        daemon.route("1795.1", &[]).await.unwrap().verdict() == "DIAL"
    })
    .await;
    let log = daemon.whole_log();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("connection")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert!(line["connections"].as_u64().unwrap() >= 8, "{line}");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("administrator command"), "{line}");
}

/// Verdicts of calls that come every 50 ms, until one is DIAL; returns how long that took.
async fn time_to_a_verdict(daemon: &Daemon, limit: Duration) -> Duration {
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut number = 0;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                number += 1;
                let (at, uniqueid) = (daemon.agi, format!("1796.{number}"));
                calls.spawn(async move { route_at(at, &uniqueid, &[]).await });
            }
            Some(answered) = calls.join_next() => {
                if answered.unwrap().unwrap().verdict() == "DIAL" {
                    return began.elapsed();
                }
            }
        }
        assert!(
            began.elapsed() < limit,
            "no verdict within {limit:?}: {}",
            daemon.whole_log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_thrown_away_and_calls_get_verdicts_again() {
    let world = World::new("priority", &[link(1)]).await;
    let (door, url) = FaultProxy::before(&world.db.url, Door::Open);
    let daemon = DaemonSettings::new("a", &url).start();
    daemon.wait_ready().await;
    assert_eq!(daemon.route("1795.1", &[]).await.unwrap().verdict(), "DIAL");
    door.freeze_those_inside();
    // 1.5 s until the first wait is over, and some for a busy machine.
    time_to_a_verdict(&daemon, Duration::from_secs(4)).await;
    // None of the others has to be found out by a call of its own.
    for call in 0..10 {
        let answer = daemon.route(&format!("1797.{call}"), &[]).await.unwrap();
        assert_eq!(answer.verdict(), "DIAL", "{}", daemon.whole_log());
    }
    daemon.wait_ready().await;
    // The end of a call is settled, too.
    daemon
        .end("1797.1", &["BUSY", "17", "", "1"])
        .await
        .unwrap();
    eventually("settled", async || {
        let sql = "select count(*) from call_logs where call_status = 'BUSY'";
        world.db.one::<i64>(sql).await == 1
    })
    .await;
}
