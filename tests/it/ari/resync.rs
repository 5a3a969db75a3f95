//! Comparing calls with channels: in which order, how often, and after which losses.

use std::time::Duration;

use capconduit::asterisk::ari::{LinkState, Tuning};

use super::{Recorder, Watching, tuning};
use crate::support::fake_ari::FakeAri;
use crate::support::journal::Journal;

const GONE: &str = r#"{"type":"ChannelDestroyed","channel":{"id":"1.0"}}"#;

async fn start(tuning: Tuning) -> (Journal, FakeAri, Recorder, Watching) {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.set_channels(include_str!("../../fixtures/ari/channels-ringing.json"));
    let recorder = Recorder::new(&journal);
    let watching = Watching::start(asterisk.server("a"), &recorder, tuning);
    (journal, asterisk, recorder, watching)
}

#[tokio::test]
async fn calls_are_listed_before_channels_and_after_the_stream_is_open() {
    let (journal, _asterisk, recorder, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    let entries = journal.entries();
    assert_eq!(
        entries,
        [
            "GET /ari/asterisk/info",
            "stream opened",
            "GET /ari/events?app=capconduit-a&subscribeAll=true",
            "PUT /ari/applications/capconduit-a/eventFilter",
            "open_calls",
            "GET /ari/channels",
            "GET /ari/bridges",
            "reconcile",
        ]
    );
    let live = recorder.live();
    let names: Vec<_> = live
        .iter()
        .map(|channel| channel.channel.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["PJSIP/ringing-desk-00000007", "PJSIP/trunk-00000006"]
    );
    assert!(live.iter().all(|channel| !channel.up));
    assert!(
        live.iter()
            .all(|channel| channel.channel.created_at.is_some())
    );
}

#[tokio::test]
async fn the_sweep_sees_channels_change() {
    let (journal, asterisk, recorder, mut watching) = start(Tuning {
        sweep_interval: Duration::from_millis(10),
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    asterisk.set_channels(include_str!("../../fixtures/ari/channels-talking.json"));
    // The one under way may still have the old list.
    journal
        .wait_for("reconcile", journal.count("reconcile") + 2)
        .await;
    let live = recorder.live();
    assert_eq!(live.len(), 2);
    assert!(live.iter().all(|channel| channel.up));
}

#[tokio::test]
async fn a_slow_engine_never_blocks_the_reader_and_lost_facts_are_made_good() {
    let (journal, asterisk, recorder, mut watching) = start(Tuning {
        queue_capacity: 4,
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    recorder.set_gate(false);
    asterisk.send(GONE);
    journal.wait_for("observe held", 1).await;
    for _ in 0..5_000 {
        asterisk.send(GONE);
    }
    asterisk.ping();
    // All of it was read although not one fact has been settled.
    journal.wait_for("pong", 1).await;
    assert_eq!(recorder.facts().len(), 0);
    assert_eq!(journal.count("reconcile"), 1);

    recorder.set_gate(true);
    journal.wait_for("reconcile", 2).await;
    watching.wait_in_sync().await;
    // What stayed in the queue is settled as well, and the connection never broke.
    journal.wait_for("observe", 5).await;
    assert_eq!(journal.count("stream opened"), 1);
}

#[tokio::test]
async fn a_failing_engine_is_asked_again_until_all_is_in_sync() {
    let (journal, asterisk, recorder, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    recorder.set_failing(true);
    asterisk.send(GONE);
    watching
        .wait_until("out of sync", |state| {
            matches!(state, LinkState::OutOfSync { reason } if reason.contains("out of order"))
        })
        .await;
    // A bounded number of attempts for the fact in each round, each round with a comparison.
    journal.wait_for("open_calls failed", 2).await;
    let attempts = tuning().observe_attempts as usize;
    assert!(journal.count("observe failed") <= attempts * (journal.count("open_calls failed") + 2));
    asterisk.send(GONE);
    recorder.set_failing(false);
    watching.wait_in_sync().await;
    // Neither the fact the engine failed on nor the one that came meanwhile is lost.
    journal.wait_for("observe", 2).await;
    assert_eq!(journal.count("stream opened"), 1);
}

#[tokio::test]
async fn an_engine_that_fails_from_the_start_is_waited_for() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let recorder = Recorder::new(&journal);
    recorder.set_failing(true);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    journal.wait_for("open_calls failed", 3).await;
    assert_eq!(journal.count("stream opened"), 1);
    recorder.set_failing(false);
    watching.wait_in_sync().await;
}

#[tokio::test]
async fn a_channel_list_that_hangs_or_lies_leaves_the_calls_alone() {
    let (journal, asterisk, _, mut watching) = start(Tuning {
        sweep_interval: Duration::from_millis(10),
        request_timeout: Duration::from_millis(500),
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;

    asterisk.hang_at(Some("/ari/channels"));
    watching
        .wait_until("out of sync", |state| {
            matches!(state, LinkState::OutOfSync { reason } if reason.contains("did not answer"))
        })
        .await;
    asterisk.hang_at(None);
    watching.wait_in_sync().await;

    let compared = journal.count("reconcile");
    asterisk.set_channels(r#"[{"name":"no id"}]"#);
    watching
        .wait_until("out of sync", |state| {
            matches!(state, LinkState::OutOfSync { reason } if reason.contains("cannot be read"))
        })
        .await;
    let compared_in_vain = journal.count("open_calls");
    journal.wait_for("open_calls", compared_in_vain + 2).await;
    // At most the one that was under way when the list began to lie.
    assert!(journal.count("reconcile") <= compared + 1);
    assert_eq!(journal.count("stream opened"), 1);
}

#[tokio::test]
async fn facts_heard_before_a_cut_are_settled_after_it() {
    let (journal, asterisk, recorder, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    recorder.set_gate(false);
    for _ in 0..10 {
        asterisk.send(GONE);
    }
    asterisk.ping();
    journal.wait_for("pong", 1).await;
    asterisk.cut_stream();
    recorder.set_gate(true);
    journal.wait_for("observe", 10).await;
    journal.wait_for("reconcile", 2).await;
    assert_eq!(recorder.facts().len(), 10);
}

#[tokio::test]
async fn who_talks_to_whom_is_told_and_an_asterisk_that_does_not_say_is_compared_all_the_same() {
    let (journal, asterisk, _, mut watching) = start(Tuning {
        sweep_interval: Duration::from_millis(10),
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    asterisk.set_bridges(Some(r#"[{"id":"b","channels":["1.0","1.1"]}]"#));
    journal.wait_for("reconcile with bridges", 1).await;
    asterisk.set_bridges(None);
    journal.wait_for("reconcile without bridges", 1).await;
    watching.wait_in_sync().await;
}

#[tokio::test]
async fn a_clock_that_differs_is_told() {
    let (journal, asterisk, _, mut watching) = start(Tuning {
        sweep_interval: Duration::from_millis(10),
        clock_interval: Duration::from_millis(4),
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    asterisk.set_clock("2020-01-02T03:04:05.678+0000");
    let told = |state: &LinkState| matches!(state, LinkState::InSync { warnings, .. } if warnings.iter().any(|w| w.contains("behind")));
    watching.wait_until("a warning", told).await;
    asterisk.set_clock(
        &jiff::Zoned::now()
            .strftime("%Y-%m-%dT%H:%M:%S.%3f%z")
            .to_string(),
    );
    watching
        .wait_until(
            "no warning",
            |state| matches!(state, LinkState::InSync { warnings, .. } if warnings.is_empty()),
        )
        .await;
    assert!(journal.count("GET /ari/asterisk/ping") > 1);
}
