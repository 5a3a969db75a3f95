//! The connection: how it begins, is lost and comes back.

use std::time::{Duration, Instant};

use capconduit::asterisk::ari::{LinkState, Tuning};
use tokio::net::TcpListener;

use super::{Recorder, Watching, tuning};
use crate::support::fake_ari::{FakeAri, server_at};
use crate::support::journal::{Journal, PATIENCE};

const FILTER: &str = "PUT /ari/applications/capconduit-a/eventFilter";

async fn start(tuning: Tuning) -> (Journal, FakeAri, Recorder, Watching) {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let recorder = Recorder::new(&journal);
    let watching = Watching::start(asterisk.server("a"), &recorder, tuning);
    (journal, asterisk, recorder, watching)
}

#[tokio::test]
async fn only_the_needed_events_are_asked_for() {
    let (journal, asterisk, _, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    journal
        .wait_for("GET /ari/events?app=capconduit-a&subscribeAll=true", 1)
        .await;
    // Without ApplicationReplaced in it Asterisk would not tell us that we were thrown out.
    assert_eq!(
        asterisk.filter().expect("a filter"),
        serde_json::json!({ "allowed": [
            { "type": "ChannelCreated" }, { "type": "Dial" }, { "type": "ChannelHangupRequest" },
            { "type": "ChannelDestroyed" }, { "type": "ApplicationReplaced" },
        ] })
    );
}

#[tokio::test]
async fn a_clean_close_is_a_disconnect_and_the_filter_is_set_anew() {
    let (journal, asterisk, _, mut watching) = start(tuning()).await;
    for connection in 1..=3 {
        journal.wait_for("reconcile", connection).await;
        watching.wait_in_sync().await;
        assert_eq!(journal.count("stream opened"), connection);
        assert_eq!(journal.count(FILTER), connection);
        asterisk.close_stream();
    }
}

#[tokio::test]
async fn a_cut_connection_comes_back() {
    let (journal, asterisk, _, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    asterisk.cut_stream();
    watching
        .wait_until("not in sync", |state| !state.is_in_sync())
        .await;
    watching.wait_in_sync().await;
    assert_eq!(journal.count("stream opened"), 2);
    assert_eq!(journal.count(FILTER), 2);
    assert_eq!(journal.count("reconcile"), 2);
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let (journal, asterisk, _, mut watching) = start(Tuning {
        ping_interval: Duration::from_millis(20),
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    journal.wait_for("ping", 3).await;
    assert_eq!(journal.count("stream opened"), 1, "pongs keep it alive");
    asterisk.go_silent();
    journal.wait_for("reconcile", 2).await;
}

#[tokio::test]
async fn an_oversized_event_ends_the_connection_and_not_the_watcher() {
    let (journal, asterisk, _, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    asterisk.send(&"x".repeat(2 * 1024 * 1024));
    journal.wait_for("reconcile", 2).await;
    watching.wait_in_sync().await;
}

#[tokio::test]
async fn an_asterisk_that_comes_later_is_found() {
    let journal = Journal::new();
    let recorder = Recorder::new(&journal);
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let mut watching = Watching::start(server_at(address, "a"), &recorder, tuning());
    watching
        .wait_until("disconnected", |state| {
            matches!(state, LinkState::Disconnected { reason } if reason.contains("reached"))
        })
        .await;
    let _asterisk = FakeAri::start_on(address, &journal).await;
    watching.wait_in_sync().await;
}

#[tokio::test]
async fn an_asterisk_that_is_restarted_is_compared_anew() {
    let (journal, asterisk, recorder, mut watching) = start(tuning()).await;
    asterisk.set_channels(include_str!("../../fixtures/ari/channels-talking.json"));
    watching.wait_in_sync().await;
    let address = asterisk.address();
    drop(asterisk);
    watching
        .wait_until("not in sync", |state| !state.is_in_sync())
        .await;
    let _asterisk = FakeAri::start_on(address, &journal).await;
    watching.wait_in_sync().await;
    assert_eq!(recorder.live(), []);
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_can_be_mended() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.refuse_password(true);
    let recorder = Recorder::new(&journal);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    watching
        .wait_until("unauthorized", |state| *state == LinkState::Unauthorized)
        .await;
    assert_eq!(journal.count("stream opened"), 0);
    asterisk.refuse_password(false);
    watching.wait_in_sync().await;
}

#[tokio::test]
async fn a_user_who_may_only_read_suffices() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.make_user_read_only();
    let recorder = Recorder::new(&journal);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    watching.wait_in_sync().await;
    journal.wait_for(&format!("{FILTER} 403"), 1).await;
    asterisk.replay(include_str!("../../fixtures/ari/answered.jsonl"));
    journal.wait_for("observe", 3).await;
}

#[tokio::test]
async fn who_is_replaced_does_not_fight() {
    let pause = Duration::from_millis(300);
    let (journal, asterisk, _, mut watching) = start(Tuning {
        replaced_pause: pause,
        ..tuning()
    })
    .await;
    watching.wait_in_sync().await;
    let replaced = Instant::now();
    asterisk.send(r#"{"type":"ApplicationReplaced","application":"capconduit-a"}"#);
    watching
        .wait_until("replaced", |state| *state == LinkState::Replaced)
        .await;
    let requests = journal.count("GET /ari/asterisk/info");
    journal.wait_for("stream opened", 2).await;
    assert!(replaced.elapsed() >= pause);
    assert_eq!(journal.count("GET /ari/asterisk/info"), requests + 1);
}

#[tokio::test]
async fn stopping_takes_leave_of_asterisk() {
    let (journal, _asterisk, _, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    watching.stop().await;
    journal.wait_for("stream closed", 1).await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_server_that_hangs() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    asterisk.hang_at(Some("/ari/events"));
    let recorder = Recorder::new(&journal);
    let watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    journal
        .wait_for(
            "GET /ari/events?app=capconduit-a&subscribeAll=true hangs",
            1,
        )
        .await;
    let asked = Instant::now();
    watching.stop().await;
    assert!(asked.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn the_connection_and_its_events_are_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (journal, asterisk, _, mut watching) = start(tuning()).await;
    watching.wait_in_sync().await;
    asterisk.replay(include_str!("../../fixtures/ari/answered.jsonl"));
    asterisk.send(r#"{"type":"Invented by a stranger"}"#);
    asterisk.send("{");
    asterisk.ping();
    journal.wait_for("pong", 1).await;
    let text = metrics.render();
    for line in [
        r#"capconduit_ari_connected{server="pbx1"} 1"#,
        r#"capconduit_ari_events_total{type="Dial"} 3"#,
        r#"capconduit_ari_events_total{type="ChannelHangupRequest"} 2"#,
        r#"capconduit_ari_events_total{type="ChannelDestroyed"} 2"#,
        r#"capconduit_ari_events_total{type="other"} 4"#,
        r#"capconduit_ari_events_total{type="malformed"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    asterisk.cut_stream();
    journal.wait_for("reconcile", 2).await;
    let text = metrics.render();
    assert!(text.contains(r#"capconduit_ari_reconnects_total{server="pbx1"} 1"#));
    watching.stop().await;
    let text = metrics.render();
    assert!(text.contains(r#"capconduit_ari_connected{server="pbx1"} 0"#));
}
