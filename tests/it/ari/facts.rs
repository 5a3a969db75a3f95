//! From recorded exchanges to facts.

use capconduit::domain::CallFact;

use super::{Recorder, Watching, tuning};
use crate::support::fake_ari::FakeAri;
use crate::support::journal::Journal;

/// Replays a recording; answers the facts in short form.
async fn facts_of(exchange: &str, expected: usize) -> Vec<String> {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let recorder = Recorder::new(&journal);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    watching.wait_in_sync().await;
    asterisk.replay(exchange);
    journal.wait_for("observe", expected).await;
    watching.stop().await;
    recorder.facts().iter().map(short).collect()
}

/// The unique id without its epoch, which differs from recording to recording.
fn short(fact: &CallFact) -> String {
    let sequence = |id: &capconduit::domain::UniqueId| {
        let id = id.as_str();
        id.rsplit_once('.').map_or("?", |(_, n)| n).to_owned()
    };
    match fact {
        CallFact::Made(_) | CallFact::Dialled { .. } | CallFact::HangupRequested { .. } => {
            panic!("a fact to see, not to settle")
        }
        CallFact::Answered {
            caller, endpoint, ..
        } => format!("{} answered by {endpoint}", sequence(&caller.uniqueid)),
        CallFact::AttemptFailed {
            caller,
            endpoint,
            status,
            ..
        } => format!(
            "{} {} at {endpoint}",
            sequence(&caller.uniqueid),
            status.as_str()
        ),
        CallFact::Gone { channel, cause, .. } => format!(
            "{} gone {}",
            sequence(&channel.uniqueid),
            cause.map_or(-1, |cause| i32::from(cause.value()))
        ),
    }
}

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/ari/", $name, ".jsonl"))
    };
}

#[tokio::test]
async fn an_answered_call_is_answered_and_gone() {
    assert_eq!(
        facts_of(recorded!("answered"), 3).await,
        ["0 answered by call-centre-7", "1 gone 16", "0 gone 16"]
    );
}

#[tokio::test]
async fn failed_attempts_are_told_with_the_status_of_the_dialled_channel() {
    for (exchange, expected) in [
        (
            recorded!("busy"),
            ["2 BUSY at busy-desk", "3 gone 17", "2 gone 17"],
        ),
        (
            recorded!("declined"),
            ["4 NOANSWER at decline-desk", "5 gone 21", "4 gone 21"],
        ),
        (
            recorded!("congested"),
            ["6 CONGESTION at full-desk", "7 gone 34", "6 gone 34"],
        ),
        (
            recorded!("no-answer"),
            ["10 NOANSWER at ringing-desk", "11 gone 0", "10 gone 16"],
        ),
        (
            recorded!("caller-gave-up"),
            ["20 CANCEL at ringing-desk", "21 gone 127", "20 gone 127"],
        ),
    ] {
        assert_eq!(facts_of(exchange, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_target_without_contact_is_never_dialled() {
    assert_eq!(facts_of(recorded!("no-contact"), 1).await, ["18 gone 3"]);
}

#[tokio::test]
async fn a_forward_that_leads_nowhere_fails_the_attempt() {
    let facts = facts_of(recorded!("forward-failed"), 5).await;
    assert_eq!(facts[0], "12 CONGESTION at forward-desk");
    assert_eq!(facts[4], "12 gone 16");
}

#[tokio::test]
async fn legs_are_seen_even_while_the_engine_is_busy() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let recorder = Recorder::new(&journal);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    watching.wait_in_sync().await;
    recorder.set_gate(false);
    asterisk.replay(recorded!("busy"));
    journal.wait_for("sight leg", 1).await;
    journal.wait_for("sight gone", 2).await;
    assert_eq!(journal.count("observe"), 0);
    recorder.set_gate(true);
    let before = journal.count("lose_sight");
    asterisk.cut_stream();
    journal.wait_for("lose_sight", before + 1).await;
}

#[tokio::test]
async fn unknown_and_malformed_events_do_no_harm() {
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    let recorder = Recorder::new(&journal);
    let mut watching = Watching::start(asterisk.server("a"), &recorder, tuning());
    watching.wait_in_sync().await;
    for text in [
        r#"{"type":"FromTheFuture","channel":7}"#,
        r#"{"type":"ApplicationReplaced","application":"of-another"}"#,
        r#"{"type":"Dial"}"#,
        "{",
        "",
        "no JSON at all \u{0}",
    ] {
        asterisk.send(text);
    }
    asterisk.send(r#"{"type":"ChannelDestroyed","channel":{"id":"1.0"}}"#);
    journal.wait_for("observe", 1).await;
    assert_eq!(journal.count("stream opened"), 1);
    assert!(watching.state.borrow().is_in_sync());
}
