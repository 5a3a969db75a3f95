use capconduit::domain::{CallFact, DialStatus, HangupCause, ReservationId};
use capconduit::routing::{Dialled, Engine, Error, PreviousAttempt, RouteRequest};
use std::time::Instant;

use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link, server};

fn answered(caller: &Caller, endpoint: &str) -> CallFact {
    CallFact::Answered {
        caller: caller.seen(),
        endpoint: endpoint.to_owned(),
    }
}

fn failed(caller: &Caller, endpoint: &str, status: DialStatus) -> CallFact {
    CallFact::AttemptFailed {
        caller: caller.seen(),
        endpoint: endpoint.to_owned(),
        status,
    }
}

fn gone(caller: &Caller) -> CallFact {
    CallFact::Gone {
        channel: caller.seen(),
        cause: Some(HangupCause::NORMAL),
    }
}

async fn observe(engine: &Engine, fact: CallFact) {
    engine.sight(&server(), &fact);
    let heard = Instant::now();
    engine
        .observe(&server(), fact, heard)
        .await
        .expect("settles");
}

async fn status(world: &World) -> String {
    world
        .db
        .one("select string_agg(call_status, ',' order by id) from call_logs")
        .await
}

async fn total(world: &World) -> i64 {
    world
        .db
        .one("select sum(current_total_calls) from campaign_client_settings")
        .await
}

#[tokio::test]
async fn an_answer_confirms_the_slot_and_consumes_one_unit() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    observe(&engine, answered(&caller, "client1")).await;
    observe(&engine, answered(&caller, "client1")).await;
    assert_eq!(world.usage().await, (0, 1));
    assert_eq!(total(&world).await, 1);
    caller.end(&engine, Some(DialStatus::Answer)).await;
    caller.end(&engine, Some(DialStatus::Answer)).await;
    observe(&engine, gone(&caller)).await;
    assert_eq!(total(&world).await, 1);
    assert_eq!(status(&world).await, "ANSWERED");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_channel_seen_to_go_ends_the_call_without_a_report() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let (talked, rang) = (Caller::new(), Caller::new());
    talked.route(&engine).await.offer();
    observe(&engine, answered(&talked, "client1")).await;
    observe(&engine, gone(&talked)).await;
    rang.route(&engine).await.offer();
    observe(&engine, gone(&rang)).await;
    assert_eq!(status(&world).await, "ANSWERED,ABANDONED");
    assert_eq!(total(&world).await, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_failure_seen_is_noted_until_the_dialplan_has_its_say() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    // ARI says "no answer" where the dialplan says "channel unavailable".
    observe(&engine, failed(&caller, "client1", DialStatus::NoAnswer)).await;
    assert_eq!(world.usage().await, (1, 0));
    let second = caller
        .route_after(&engine, DialStatus::ChanUnavail)
        .await
        .offer();
    assert_eq!(second.endpoint, "client2");
    // A late word about the first attempt does not touch the second.
    observe(&engine, failed(&caller, "client1", DialStatus::Busy)).await;
    observe(&engine, answered(&caller, "client1")).await;
    assert_eq!(world.usage().await, (1, 0));
    let statuses =
        "select string_agg(coalesce(dial_status, '-'), ',' order by attempt) from call_attempts";
    assert_eq!(world.db.one::<String>(statuses).await, "CHANUNAVAIL,-");

    // Nobody reports the end: what was seen stands.
    observe(&engine, failed(&caller, "client2", DialStatus::Busy)).await;
    observe(&engine, gone(&caller)).await;
    assert_eq!(world.db.one::<String>(statuses).await, "CHANUNAVAIL,BUSY");
    assert_eq!(status(&world).await, "BUSY");
    world.assert_quiet().await;
}

#[tokio::test]
async fn an_answer_by_the_fallback_is_logged_and_charged_to_nobody() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    // The daemon claimed and died before it answered; the dialplan went to the fallback.
    caller.route(&engine).await.offer();
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    engine.end(report).await.unwrap();
    assert_eq!(status(&world).await, "ANSWERED");
    assert_eq!(total(&world).await, 0);
    let client: Option<i32> = world.db.one("select client_id from call_logs").await;
    assert_eq!(client, None);
    assert_eq!(
        world
            .db
            .one::<String>("select outcome from call_attempts")
            .await,
        "not_dialled"
    );
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_report_about_an_earlier_offer_is_not_charged_to_the_open_one() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let first = caller.route(&engine).await.offer();
    caller.route_after(&engine, DialStatus::Busy).await.offer();
    let report = caller.report(
        Some(DialStatus::Busy),
        Dialled::Reservation(first.reservation_id),
    );
    engine.end(report).await.unwrap();
    assert_eq!(status(&world).await, "BUSY");
    world.assert_quiet().await;

    let caller = Caller::new();
    let offer = caller.route(&engine).await.offer();
    let report = caller.report(
        Some(DialStatus::Answer),
        Dialled::Reservation(ReservationId(offer.reservation_id.0)),
    );
    engine.end(report).await.unwrap();
    assert_eq!(total(&world).await, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn the_end_of_a_call_that_was_never_routed_is_logged_once() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new().dialling("18005550100");
    for _ in 0..3 {
        caller.end(&engine, Some(DialStatus::Answer)).await;
    }
    let row = world
        .db
        .owner
        .query_one("select * from call_logs", &[])
        .await
        .expect("one row");
    assert_eq!(row.get::<_, &str>("call_status"), "ANSWERED");
    assert_eq!(row.get::<_, i32>("user_id"), 1);
    assert_eq!(row.get::<_, i32>("duration_seconds"), 9);
    assert_eq!(row.get::<_, i32>("billsec_seconds"), 7);
    assert_eq!(total(&world).await, 0);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_question_answered_after_the_end_of_its_call_takes_no_slot_and_makes_no_second_row() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    // The caller hung up while the question waited, and the report of that was quicker.
    let caller = Caller::new();
    let question = caller.question();
    caller.end(&engine, Some(DialStatus::Cancel)).await;
    assert!(matches!(engine.route(question).await, Err(Error::Stale)));
    assert_eq!(status(&world).await, "ABANDONED");

    // The same between two attempts.
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    let question = RouteRequest {
        previous: Some(PreviousAttempt {
            status: DialStatus::Busy,
            cause: None,
        }),
        ..caller.question()
    };
    caller.end(&engine, Some(DialStatus::Busy)).await;
    assert!(engine.route(question).await.is_err());
    assert_eq!(status(&world).await, "ABANDONED,BUSY");
    assert_eq!(world.usage().await, (0, 0));

    // A new call that comes with the unique id of either is a call of its own.
    caller.route(&engine).await.offer();
    caller.end(&engine, Some(DialStatus::Answer)).await;
    assert_eq!(status(&world).await, "ABANDONED,BUSY,ANSWERED");
    engine.sweep().await.unwrap();
    world
        .db
        .run("update calls set over_at = over_at - interval '1 minute' where over_at is not null")
        .await;
    engine.sweep().await.unwrap();
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_question_of_the_past_does_not_end_a_talking_call() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let question = caller.question();
    caller.route(&engine).await.offer();
    observe(&engine, answered(&caller, "client1")).await;
    // A daemon that stood still goes on and asks what it was asked before.
    assert!(matches!(
        engine.route(question.clone()).await,
        Err(Error::Stale)
    ));
    assert_eq!(world.usage().await, (0, 1));
    caller.end(&engine, Some(DialStatus::Answer)).await;
    assert!(engine.route(question).await.is_err());
    assert_eq!(status(&world).await, "ANSWERED");
    world.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn question_and_end_at_the_same_moment_leave_one_row_and_no_slot() {
    let world = World::new("round_robin", &[link(1), link(2)]).await;
    let engines = [world.engine("a"), world.engine("b")];
    for round in 0..100_u64 {
        let caller = Caller::new();
        let question = caller.question();
        let (asking, ending) = (engines[0].clone(), engines[round as usize % 2].clone());
        let report = caller.report(None, Dialled::Nothing);
        let delay = std::time::Duration::from_micros(fastrand::u64(0..3_000));
        let asked = tokio::spawn(async move { asking.route(question).await });
        tokio::time::sleep(delay).await;
        ending.end(report).await.unwrap();
        let _ = asked.await.unwrap();
        let rows: i64 = world
            .db
            .one(&format!(
                "select count(*) from call_logs where asterisk_uniqueid = '{}'",
                caller.uniqueid
            ))
            .await;
        assert_eq!(rows, 1, "round {round}, end after {delay:?}");
    }
    assert_eq!(world.usage().await, (0, 0));
    world.assert_sound().await;
}

#[tokio::test]
async fn deleting_campaign_client_or_owner_under_a_live_call_loses_no_record() {
    for delete in [
        "delete from campaign_client_settings",
        "delete from clients",
        "delete from campaigns",
        "delete from users",
    ] {
        let world = World::new("priority", &[link(1)]).await;
        let engine = world.engine("a");
        let (live, next) = (Caller::new(), Caller::new());
        live.route(&engine).await.offer();
        observe(&engine, answered(&live, "client1")).await;
        world.db.run(delete).await;
        next.route(&engine).await.refusal();
        live.end(&engine, Some(DialStatus::Answer)).await;
        next.end(&engine, None).await;
        assert_eq!(status(&world).await, "ANSWERED,REJECTED_DID", "{delete}");
        let open: i64 = world
            .db
            .one("select count(*) from reservations where ended_at is null")
            .await;
        assert_eq!(open, 0, "{delete}");
    }
}

/// Facts about one call in any order, each up to three times, some missing: one row, no slot left, and
/// one unit consumed exactly if any of them said that it was answered.
#[tokio::test(flavor = "multi_thread")]
async fn facts_in_any_order_and_number_settle_a_call_once() {
    let world = World::new("priority", &[link(1)]).await;
    let engines = [world.engine("a"), world.engine("b")];
    let mut consumed = 0;
    for seed in 0..60_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let caller = Caller::new();
        let offer = caller.route(&engines[0]).await.offer();
        let truly_answered = random.bool();
        let mut facts: Vec<u8> = Vec::new();
        for kind in 0..3 {
            facts.extend(std::iter::repeat_n(kind, random.usize(0..=3)));
        }
        random.shuffle(&mut facts);
        facts.push(3);
        let told: Vec<_> = facts
            .into_iter()
            .map(|kind| {
                let engine = engines[random.usize(0..2)].clone();
                let caller = caller.clone();
                let reservation = offer.reservation_id;
                tokio::spawn(async move {
                    let status = if truly_answered {
                        DialStatus::Answer
                    } else {
                        DialStatus::NoAnswer
                    };
                    match kind {
                        0 if truly_answered => observe(&engine, answered(&caller, "client1")).await,
                        0 => observe(&engine, failed(&caller, "client1", status)).await,
                        1 => {
                            let report = caller.report(Some(status), Dialled::Unsaid);
                            engine.end(report).await.unwrap();
                        }
                        _ => {
                            let report =
                                caller.report(Some(status), Dialled::Reservation(reservation));
                            engine.end(report).await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for one in told {
            one.await.unwrap();
        }
        consumed += i64::from(truly_answered);
        let logged: String = world
            .db
            .one(&format!(
                "select call_status from call_logs where id = {}",
                offer.call_id
            ))
            .await;
        let expected = if truly_answered {
            "ANSWERED"
        } else {
            "NOANSWER"
        };
        assert_eq!(logged, expected, "seed {seed}");
        assert_eq!(total(&world).await, consumed, "seed {seed}");
    }
    world.assert_quiet().await;
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        60
    );
}
