//! Reports of ends that come after the end was seen, or whose sender has left: what they correct, and what they must not.

use std::time::Instant;

use capconduit::domain::{CallFact, DialStatus, HangupCause};
use capconduit::routing::{Dialled, EndReport, Engine, Error};

use crate::support::World;
use crate::support::world::{Caller, LinkSpec, VerdictExt, compare, link, live, server};

async fn tell(engine: &Engine, fact: CallFact) {
    engine.sight(&server(), &fact);
    let heard = Instant::now();
    engine
        .observe(&server(), fact, heard)
        .await
        .expect("settles");
}

/// The caller's channel is seen to go.
async fn leaves(engine: &Engine, caller: &Caller) {
    let fact = CallFact::Gone {
        channel: caller.seen(),
        cause: Some(HangupCause::NORMAL),
    };
    tell(engine, fact).await;
}

/// Status, billed seconds, target and reason of each record.
async fn log(world: &World) -> String {
    world
        .db
        .one(
            "select string_agg(concat_ws(' ', call_status, billsec_seconds, 'to client' || client_id, refusal_reason), ', '
                               order by id)
             from call_logs",
        )
        .await
}

async fn totals(world: &World) -> String {
    world
        .db
        .one(
            "select string_agg(current_total_calls::text, ' ' order by id) from campaign_client_settings",
        )
        .await
}

/// All that has happened was so many seconds earlier.
async fn passes(world: &World, seconds: u32) {
    for change in [
        "update calls set started_at = started_at - $, ended_at = ended_at - $, over_at = over_at - $",
        "update call_logs set timestamp_start = timestamp_start - $, timestamp_end = timestamp_end - $",
        "update call_attempts_recent set offered_at = offered_at - $, ended_at = ended_at - $",
    ] {
        let change = change.replace('$', &format!("interval '{seconds} seconds'"));
        world.db.run(&change).await;
    }
}

fn overdue(report: EndReport) -> EndReport {
    EndReport {
        overdue: true,
        ..report
    }
}

/// A world with two daemons, one of which sees what goes on, and a caller.
async fn two_daemons(links: &[LinkSpec]) -> (World, Engine, Engine, Caller) {
    let world = World::new("priority", links).await;
    let (asked, observes) = (world.engine("a"), world.engine("b"));
    let caller = Caller::new();
    caller.appears(&observes);
    (world, asked, observes, caller)
}

#[tokio::test]
async fn a_target_that_talked_is_in_the_record_though_its_end_was_seen_before_it_was_told() {
    let (world, asked, observes, caller) = two_daemons(&[link(1), link(2)]).await;
    caller.route(&asked).await.offer();
    let second = caller.route_after(&asked, DialStatus::Busy).await.offer();
    passes(&world, 20).await;
    leaves(&observes, &caller).await;
    assert_eq!(log(&world).await, "BUSY 0 to client2");
    assert_eq!(totals(&world).await, "0 0");
    let dialled = Dialled::Reservation(second.reservation_id);
    let report = caller.report(Some(DialStatus::Answer), dialled);
    for _ in 0..2 {
        asked.end(report.clone()).await.expect("settles");
        assert_eq!(log(&world).await, "ANSWERED 7 to client2");
        assert_eq!(totals(&world).await, "0 1");
    }
    let attempts: String = world
        .db
        .one("select string_agg(outcome, ' ' order by attempt) from call_attempts")
        .await;
    assert_eq!(attempts, "failed answered");
    world.assert_quiet().await;
}

#[tokio::test]
async fn an_answer_that_was_inferred_is_taken_back_by_a_report_that_comes_after_the_end() {
    let (world, asked, observes, caller) = two_daemons(&[link(1)]).await;
    let offer = caller.route(&asked).await.offer();
    let fact = CallFact::Answered {
        caller: caller.seen(),
        endpoint: "client1".to_owned(),
    };
    tell(&observes, fact).await;
    leaves(&observes, &caller).await;
    assert_eq!(totals(&world).await, "1");
    let dialled = Dialled::Reservation(offer.reservation_id);
    let report = caller.report(Some(DialStatus::NoAnswer), dialled);
    asked.end(report).await.expect("settles");
    assert_eq!(log(&world).await, "NOANSWER 0 to client1");
    assert_eq!(totals(&world).await, "0");
    world.assert_quiet().await;
}

#[tokio::test]
async fn the_fallback_talked_whatever_was_recorded_when_the_end_was_seen() {
    // Refused, and the answer was lost.
    let only = LinkSpec {
        max_concurrency: 1,
        ..link(1)
    };
    let (world, asked, observes, caller) = two_daemons(&[only]).await;
    let other = Caller::new();
    other.route(&asked).await.offer();
    caller.route(&asked).await.refusal();
    passes(&world, 20).await;
    leaves(&observes, &caller).await;
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    asked.end(report).await.expect("settles");
    assert_eq!(log(&world).await, "ANSWERED 7");
    other.end(&asked, Some(DialStatus::Busy)).await;
    world.assert_quiet().await;

    // A target did not answer, and the next question had no answer.
    let (world, asked, observes, caller) = two_daemons(&[link(1)]).await;
    let offer = caller.route(&asked).await.offer();
    caller
        .route_after(&asked, DialStatus::NoAnswer)
        .await
        .refusal();
    passes(&world, 20).await;
    leaves(&observes, &caller).await;
    assert_eq!(
        log(&world).await,
        "NOANSWER 0 to client1 no_eligible_clients_available"
    );
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    asked.end(report).await.expect("settles");
    assert_eq!(log(&world).await, "ANSWERED 7");
    assert_eq!(totals(&world).await, "0");
    // Nothing more can be said of it.
    let dialled = Dialled::Reservation(offer.reservation_id);
    let report = caller.report(Some(DialStatus::Busy), dialled);
    asked.end(report).await.expect("settles");
    assert_eq!(log(&world).await, "ANSWERED 7");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_slot_that_waits_for_its_target_counts_as_answered_once_that_is_told() {
    let (world, asked, observes, caller) = two_daemons(&[link(1)]).await;
    let offer = caller.route(&asked).await.offer();
    caller.dials(&observes, "client1");
    leaves(&observes, &caller).await;
    assert_eq!(world.usage().await, (1, 0), "the target's channel is there");
    let dialled = Dialled::Reservation(offer.reservation_id);
    let report = caller.report(Some(DialStatus::Answer), dialled);
    asked.end(report).await.expect("settles");
    assert_eq!((world.usage().await, &*totals(&world).await), ((0, 1), "1"));
    let fact = CallFact::Gone {
        channel: caller.leg("client1"),
        cause: None,
    };
    tell(&observes, fact).await;
    assert_eq!(totals(&world).await, "1");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_report_that_is_read_long_after_it_was_sent_makes_no_second_record() {
    let world = World::new("priority", &[link(1)]).await;
    let (stopped, other) = (world.engine("a"), world.engine("b"));
    // Routed and talked, told to the other daemon.
    let routed = Caller::new();
    let offer = routed.route(&other).await.offer();
    let dialled = Dialled::Reservation(offer.reservation_id);
    let told = routed.report(Some(DialStatus::Answer), dialled);
    // Carried by the fallback, told to the other daemon.
    let unrouted = Caller::new().report(Some(DialStatus::NoAnswer), Dialled::Fallback);
    for report in [&told, &unrouted] {
        other.end(report.clone()).await.expect("settles");
    }
    let logged = log(&world).await;
    passes(&world, 3_600).await;
    for report in [told.clone(), unrouted.clone()] {
        stopped.end(overdue(report)).await.expect("settles");
    }
    // One that names its slot is known whatever its age.
    stopped.end(told).await.expect("settles");
    assert_eq!(log(&world).await, logged);
    // A channel that comes again after an hour, and that nobody routes, has another record. The sweep has let go of its
    // first call by then.
    (world.db).run("update calls set over_at = null").await;
    stopped.end(unrouted).await.expect("settles");
    assert_eq!(log(&world).await, format!("{logged}, NOANSWER 0"));
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_report_of_unknown_age_ends_no_call_whose_channel_is_there() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    caller.route(&engine).await.offer();
    let report = overdue(caller.report(Some(DialStatus::NoAnswer), Dialled::Fallback));
    engine.end(report.clone()).await.expect("leaves it");
    assert_eq!(world.usage().await, (1, 0));
    leaves(&engine, &caller).await;
    engine.end(report).await.expect("settles");
    assert_eq!(log(&world).await, "NOANSWER 0");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_target_whose_channel_is_not_known_keeps_its_slot_until_the_next_list() {
    let world = World::new("priority", &[link(1)]).await;
    let before = world.engine("a");
    for reported in [true, false] {
        let caller = Caller::new();
        caller.route(&before).await.offer();
        // The daemon begins to watch while the target rings: which of the channels that is, nobody says.
        let watches = world.engine("b");
        let mut dialling = live(caller.seen(), false);
        dialling.dials = Some("PJSIP/client1".to_owned());
        let ringing = live(caller.leg("client1"), false);
        compare(&watches, &[dialling, ringing]).await;
        if reported {
            caller.end(&watches, Some(DialStatus::NoAnswer)).await;
        } else {
            leaves(&watches, &caller).await;
        }
        assert_eq!(world.usage().await, (1, 0), "reported: {reported}");
        assert_eq!(compare(&watches, &[]).await.released, 1);
        world.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_question_claims_nothing_whose_end_waits_for_the_database_too() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let question = caller.question();
    // Whoever writes a call with this unique id waits.
    let insert = format!(
        "begin; insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, incoming_did_number,
                                   started_at, expires_at)
                values ('{0}', '{0}', 'x', 'x', 'x', now(), now())",
        caller.uniqueid
    );
    world.db.run(&insert).await;
    let report = caller.report(None, Dialled::Nothing);
    engine.end(report).await.expect("keeps it");
    let answer = engine.route(question).await;
    assert!(matches!(answer, Err(Error::Stale)), "{answer:?}");
    world.db.run("rollback").await;
    engine.settle_late_reports().await.expect("settles");
    assert_eq!(log(&world).await, "ABANDONED 0");
    world.assert_quiet().await;
}
