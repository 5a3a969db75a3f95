//! Calls at the edges: several servers, unlike clocks, lost answers, transfers, menus before us.

use std::time::{Duration, Instant};

use capconduit::domain::{
    CallFact, DialStatus, HangupCause, LiveChannel, ReservationId, SeenChannel, ServerIdentity,
    ServerName,
};
use capconduit::routing::{
    DeclaredDead, Dialled, Engine, Error, PreviousAttempt, RouteRequest, Settings,
};

use crate::support::World;
use crate::support::world::{
    Caller, LinkSpec, VerdictExt, compare, compare_on, identity, link, live, server,
};

fn one(client: i32) -> LinkSpec {
    LinkSpec {
        max_concurrency: 1,
        ..link(client)
    }
}

async fn tell(engine: &Engine, fact: CallFact) {
    tell_on(engine, &server(), fact).await;
}

async fn tell_on(engine: &Engine, server: &ServerName, fact: CallFact) {
    engine.sight(server, &fact);
    let heard = Instant::now();
    engine.observe(server, fact, heard).await.expect("settles");
}

fn gone(channel: SeenChannel) -> CallFact {
    CallFact::Gone {
        channel,
        cause: Some(HangupCause::NORMAL),
    }
}

fn answered(caller: &Caller, endpoint: &str) -> CallFact {
    CallFact::Answered {
        caller: caller.seen(),
        endpoint: endpoint.to_owned(),
    }
}

async fn log(world: &World) -> String {
    world
        .db
        .one("select string_agg(call_status || ' ' || billsec_seconds, ',' order by id) from call_logs")
        .await
}

async fn total(world: &World) -> i64 {
    world
        .db
        .one("select sum(current_total_calls) from campaign_client_settings")
        .await
}

/// A daemon with other servers in its configuration.
fn daemon(world: &World, node: &str, servers: &[(&str, [u8; 4])]) -> Engine {
    let settings = Settings {
        node: node.to_owned(),
        ring_budget_seconds: 120,
        max_call_seconds: 14_400,
        records: true,
        servers: servers
            .iter()
            .map(|(name, address)| (named(name), vec![(*address).into()]))
            .collect(),
    };
    Engine::new(world.db.store(), settings)
}

fn named(name: &str) -> ServerName {
    ServerName::parse(name).expect("a name")
}

// --- who owns a call ---

#[tokio::test]
async fn two_daemons_with_one_name_for_two_machines_end_nobodys_call() {
    let world = World::new("priority", &[one(1)]).await;
    let here = daemon(&world, "a", &[("pbx1", [127, 0, 0, 1])]);
    let there = daemon(&world, "b", &[("pbx1", [127, 0, 0, 1])]);
    let (ours, theirs) = (identity("aa:01", ""), identity("aa:02", ""));
    let pbx = named("pbx1");
    let caller = Caller::new();
    here.sight(&pbx, &CallFact::Made(caller.seen()));
    caller.route(&here).await.offer();
    let channels = [live(caller.seen(), false)];
    compare_on(&here, &pbx, &ours, &channels, None)
        .await
        .expect("compares");
    for _ in 0..3 {
        let refused = compare_on(&there, &pbx, &theirs, &[], None).await;
        let error = refused.expect_err("another machine's name");
        assert!(
            matches!(&error, Error::Contested(text) if text.contains("pbx1")),
            "{error}"
        );
        // A channel there with the same unique id is not this call's.
        tell_on(&there, &pbx, gone(caller.seen())).await;
    }
    assert_eq!(
        world.usage().await,
        (1, 0),
        "the call of the other machine lives"
    );
    Caller::new().route(&there).await.refusal();
    // The first one is told too, and keeps its hands off as well.
    assert!(compare_on(&here, &pbx, &ours, &[], None).await.is_err());
    assert_eq!(world.usage().await, (1, 0));
}

#[tokio::test]
async fn a_call_is_ended_by_the_daemon_that_saw_it_while_that_watches() {
    let world = World::new("priority", &[one(1)]).await;
    // Two machines that cannot be told apart at all.
    let [here, there] = ["a", "b"].map(|node| daemon(&world, node, &[("pbx1", [127, 0, 0, 1])]));
    let (same, pbx) = (identity("", ""), named("pbx1"));
    let caller = Caller::new();
    compare_on(&here, &pbx, &same, &[], None)
        .await
        .expect("compares");
    caller.route(&here).await.offer();
    let channels = [live(caller.seen(), false)];
    compare_on(&there, &pbx, &same, &[], None)
        .await
        .expect("compares");
    assert_eq!(
        world.usage().await,
        (1, 0),
        "asked at another daemon, seen by none"
    );
    compare_on(&here, &pbx, &same, &channels, None)
        .await
        .expect("compares");
    let repairs = compare_on(&there, &pbx, &same, &[], None)
        .await
        .expect("compares");
    assert_eq!(repairs.lost, 0);
    let repairs = compare_on(&here, &pbx, &same, &[], None)
        .await
        .expect("compares");
    assert_eq!(repairs.lost, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn two_servers_on_one_address_do_not_end_each_others_calls() {
    let world = World::new("priority", &[one(1)]).await;
    let both = [("pbx1", [127, 0, 0, 1]), ("pbx2", [127, 0, 0, 1])];
    let engine = daemon(&world, "a", &both);
    let (one_id, two_id) = (identity("aa:01", "one"), identity("aa:02", "two"));
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    let repairs = compare_on(&engine, &named("pbx1"), &one_id, &[], None).await;
    let repairs = repairs.expect("compares");
    assert_eq!(repairs.lost, 0);
    assert_eq!(repairs.warnings.len(), 1, "{:?}", repairs.warnings);
    let channels = [live(caller.seen(), false)];
    let repairs = compare_on(&engine, &named("pbx2"), &two_id, &channels, None).await;
    assert_eq!(repairs.expect("compares").adopted, 1);
    compare_on(&engine, &named("pbx1"), &one_id, &[], None)
        .await
        .expect("compares");
    assert_eq!(world.usage().await, (1, 0));
    let repairs = compare_on(&engine, &named("pbx2"), &two_id, &[], None).await;
    assert_eq!(repairs.expect("compares").lost, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn equal_unique_ids_of_two_servers_are_two_calls() {
    let world = World::new("priority", &[one(1), one(2)]).await;
    let both = [("pbx1", [192, 0, 2, 1]), ("pbx2", [192, 0, 2, 2])];
    let [here, there] = ["a", "b"].map(|node| daemon(&world, node, &both));
    let first = Caller::with_uniqueid("1795206437.5");
    let mut second = Caller::with_uniqueid("1795206437.5");
    second.number = "+15550002222".to_owned();
    second.channel = "PJSIP/trunk-0000abcd".to_owned();
    first.route(&here).await.offer();
    second.route(&there).await.offer();
    assert_eq!(world.usage().await, (2, 0), "both calls live");
    Caller::new().route(&here).await.refusal();

    // Each report ends its own call.
    let (pbx1, pbx2) = (named("pbx1"), named("pbx2"));
    let channels = [live(first.seen(), true)];
    compare_on(&here, &pbx1, &identity("aa:01", ""), &channels, None)
        .await
        .expect("compares");
    second.end(&there, Some(DialStatus::Busy)).await;
    assert_eq!(log(&world).await, "BUSY 0,REJECTED_CC 0");
    assert_eq!(world.usage().await, (1, 0));
    let ended: String = world
        .db
        .one("select caller_id_num from call_logs where call_status = 'BUSY'")
        .await;
    assert_eq!(ended, "+15550002222");
    // A channel of that unique id that goes on the other server is not this one's.
    tell_on(&there, &pbx2, gone(first.seen())).await;
    assert_eq!(world.usage().await, (1, 0));
    tell_on(&here, &pbx1, gone(first.seen())).await;
    assert_eq!(world.usage().await, (0, 0));
    world.assert_sound().await;
}

#[tokio::test]
async fn calls_that_cannot_be_told_apart_are_not_given_to_a_server() {
    let world = World::new("priority", &[one(1), one(2)]).await;
    let engine = world.engine("a");
    let first = Caller::with_uniqueid("1795206437.7");
    let mut second = first.clone();
    second.number = "+15550002222".to_owned();
    for caller in [&first, &second] {
        caller.route(&engine).await.offer();
    }
    let repairs = compare(&engine, &[live(first.seen(), false)]).await;
    assert_eq!((repairs.adopted, repairs.lost), (0, 0));
    tell(&engine, gone(first.seen())).await;
    assert_eq!(world.usage().await, (2, 0));
    // Their own reports know them.
    first.end(&engine, Some(DialStatus::Busy)).await;
    second.end(&engine, Some(DialStatus::NoAnswer)).await;
    let callers: String = world
        .db
        .one("select string_agg(caller_id_num || ' ' || call_status, ',' order by id) from call_logs")
        .await;
    assert_eq!(callers, "+15550001111 BUSY,+15550002222 NOANSWER");
    world.assert_quiet().await;
}

#[tokio::test]
async fn system_names_tell_calls_apart_whatever_else_is_equal() {
    let world = World::new("priority", &[one(1), one(2)]).await;
    let engine = world.engine("a");
    let calls = ["east", "west"].map(|name| Caller::with_uniqueid("1795206437.6").on(name));
    for caller in &calls {
        caller.route(&engine).await.offer();
    }
    assert_eq!(world.usage().await, (2, 0));
    for (caller, left) in calls.iter().zip([1, 0]) {
        caller.end(&engine, Some(DialStatus::NoAnswer)).await;
        assert_eq!(world.usage().await, (left, 0));
    }
    world.assert_quiet().await;
    let rows: i64 = world.db.one("select count(*) from call_logs").await;
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn a_call_nobody_has_seen_is_judged_by_the_server_whose_name_the_dialplan_told() {
    let world = World::new("priority", &[one(1)]).await;
    let both = [("pbx1", [192, 0, 2, 1]), ("pbx2", [192, 0, 2, 2])];
    let engine = daemon(&world, "a", &both);
    let caller = Caller::new().on("two");
    caller.route(&engine).await.offer();
    let judge = async |name: &str, system: &str| {
        let its = identity(&format!("aa:{system}"), system);
        let compared = compare_on(&engine, &named(name), &its, &[], None).await;
        compared.expect("compares").lost
    };
    assert_eq!(judge("pbx1", "one").await, 0);
    assert_eq!(judge("pbx2", "two").await, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn many_calls_gone_at_once_are_believed_the_second_time_or_after_a_restart() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let its = identity("aa:01", "");
    let fill = async || {
        let callers: Vec<_> = (0..12).map(|_| Caller::new()).collect();
        for caller in &callers {
            caller.route(&engine).await.offer();
        }
        let channels: Vec<_> = callers.iter().map(|c| live(c.seen(), false)).collect();
        compare_on(&engine, &server(), &its, &channels, None)
            .await
            .expect("compares");
    };
    fill().await;
    let doubted = compare_on(&engine, &server(), &its, &[], None).await;
    assert!(
        matches!(doubted, Err(Error::Implausible { lost: 12, open: 12 })),
        "{doubted:?}"
    );
    assert_eq!(world.usage().await, (12, 0));
    let repairs = compare_on(&engine, &server(), &its, &[], None).await;
    assert_eq!(repairs.expect("compares").lost, 12);
    world.assert_quiet().await;

    fill().await;
    let restarted = ServerIdentity {
        startup_time: "2026-11-21T03:00:00Z".parse().ok(),
        ..its.clone()
    };
    let repairs = compare_on(&engine, &server(), &restarted, &[], None).await;
    assert_eq!(repairs.expect("compares").lost, 12);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_machine_replaced_under_its_name_is_declared_dead_or_outlived() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let (old, new) = (identity("aa:01", "x"), identity("aa:02", "x"));
    let callers = [Caller::new(), Caller::new()];
    for caller in &callers {
        caller.route(&engine).await.offer();
    }
    let channels = callers.each_ref().map(|c| live(c.seen(), false));
    compare_on(&engine, &server(), &old, &channels, None)
        .await
        .expect("compares");
    let contested = compare_on(&engine, &server(), &new, &[], None).await;
    assert!(matches!(contested, Err(Error::Contested(_))));
    // Nobody watches the old machine any more: its calls end at their limit, if nobody says so before.
    world
        .db
        .run("update calls set expires_at = now() - interval '1 second' where call_id = (select min(call_id) from calls)")
        .await;
    engine.sweep().await.unwrap();
    assert_eq!(world.usage().await, (1, 0));
    world
        .db
        .run("update servers set heartbeat = heartbeat - interval '2 minutes'")
        .await;
    let done = engine.declare_server_dead(&server(), "ops").await.unwrap();
    assert_eq!(done, DeclaredDead::Done { calls: 1 });
    compare_on(&engine, &server(), &new, &[], None)
        .await
        .expect("the name is its own now");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_kept_report_of_an_earlier_call_does_not_end_the_next_one() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let first = caller.route(&engine).await.offer();
    tell(&engine, answered(&caller, "client1")).await;
    world
        .db
        .run(
            "update call_attempts set ended_at = now(), outcome = 'answered';
              update reservations set state = 'released', ended_at = now();
              update link_usage set confirmed = 0",
        )
        .await;
    let second = caller.route(&engine).await.offer();
    assert_ne!(first.call_id, second.call_id);
    let report = caller.report(
        Some(DialStatus::Answer),
        Dialled::Reservation(first.reservation_id),
    );
    engine.end(report).await.unwrap();
    assert_eq!(world.usage().await, (1, 0), "the next call goes on");
    caller.end(&engine, Some(DialStatus::Busy)).await;
    let logged: String = world
        .db
        .one("select string_agg(call_status, ',' order by id) from call_logs")
        .await;
    assert_eq!(logged, "ANSWERED,BUSY");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_slot_whose_channel_nobody_knows_does_not_wait_for_the_callers_next_target() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let (watches, other) = (world.engine("a"), daemon(&world, "b", &[]));
    let caller = Caller::new();
    caller.appears(&watches);
    caller.route(&watches).await.offer();
    compare(&watches, &[live(caller.seen(), false)]).await;
    caller.route_after(&other, DialStatus::Busy).await.offer();
    assert_eq!(world.usage().await, (2, 0));
    caller.dials(&watches, "client2");
    let channels = [
        live(caller.seen(), false),
        live(caller.leg("client2"), false),
    ];
    assert_eq!(compare(&watches, &channels).await.released, 1);
    assert_eq!(world.usage().await, (1, 0));
}

#[tokio::test]
async fn a_call_of_the_fallback_that_nobody_answered_is_billed_nothing() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let mut report = Caller::new().report(Some(DialStatus::NoAnswer), Dialled::Fallback);
    report.dialed_seconds = Some(20);
    engine.end(report).await.unwrap();
    assert_eq!(log(&world).await, "NOANSWER 0");
    let answered: Option<jiff::Timestamp> = world
        .db
        .one("select timestamp_answered from call_logs")
        .await;
    assert_eq!(answered, None);
}

#[tokio::test]
async fn a_call_of_the_fallback_is_logged_though_its_unique_id_is_another_servers_call() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let first = Caller::with_uniqueid("1795206437.8");
    first.route(&engine).await.offer();
    let mut second = Caller::with_uniqueid("1795206437.8");
    second.number = "+15550002222".to_owned();
    second.channel = "PJSIP/trunk-0000abcd".to_owned();
    let report = second.report(Some(DialStatus::Answer), Dialled::Fallback);
    for _ in 0..2 {
        engine.end(report.clone()).await.unwrap();
    }
    assert_eq!(world.usage().await, (1, 0), "the first goes on");
    assert_eq!(log(&world).await, "ANSWERED 7");
    first.end(&engine, Some(DialStatus::Busy)).await;
    assert_eq!(world.usage().await, (0, 0));
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_declared_dead_and_a_call_released_by_hand() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let callers: [_; 3] = std::array::from_fn(|_| Caller::new());
    let mut offers = Vec::new();
    for caller in &callers {
        offers.push(caller.route(&engine).await.offer());
    }
    let channels: Vec<_> = callers.iter().map(|c| live(c.seen(), false)).collect();
    compare(&engine, &channels).await;
    let observed = engine.declare_server_dead(&server(), "ops").await.unwrap();
    assert!(
        matches!(observed, DeclaredDead::Observed { .. }),
        "{observed:?}"
    );
    assert!(engine.release_call(offers[0].call_id).await.unwrap());
    assert!(!engine.release_call(offers[0].call_id).await.unwrap());
    assert!(
        engine
            .release_reservation(offers[1].reservation_id)
            .await
            .unwrap()
    );
    assert!(
        !engine
            .release_reservation(ReservationId(987_654))
            .await
            .unwrap()
    );
    assert_eq!(world.usage().await, (1, 0));

    engine.leave(&server()).await.unwrap();
    let done = engine.declare_server_dead(&server(), "ops").await.unwrap();
    assert_eq!(done, DeclaredDead::Done { calls: 2 });
    world.assert_quiet().await;
    let by: String = world.db.one("select declared_dead_by from servers").await;
    assert_eq!(by, "ops");
    let unknown = engine.declare_server_dead(&named("other"), "ops").await;
    assert_eq!(unknown.unwrap(), DeclaredDead::Unknown);
}

// --- one clock ---

#[tokio::test]
async fn calls_seen_alive_outlive_every_limit() {
    let world = World::new("priority", &[one(1)]).await;
    let (observer, other) = (world.engine("a"), world.engine("b"));
    let caller = Caller::new();
    caller.route(&observer).await.offer();
    let channels = [live(caller.seen(), true)];
    compare(&observer, &channels).await;
    world
        .db
        .run("update calls set expires_at = now() - interval '6 hours'")
        .await;
    other.sweep().await.unwrap();
    observer.sweep().await.unwrap();
    assert_eq!(world.usage().await, (1, 0), "its observer sees it alive");
    compare(&observer, &channels).await;
    let extended: bool = world
        .db
        .one("select expires_at > now() + interval '1 hour' from calls")
        .await;
    assert!(extended);
    caller.end(&observer, Some(DialStatus::Busy)).await;
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_question_is_late_by_its_own_clock_and_leaves_no_trace() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let late = RouteRequest {
        deadline: Instant::now(),
        ..caller.question()
    };
    assert!(matches!(engine.route(late).await, Err(Error::Late)));
    // In time when it was asked, and not any more when it has been looked at.
    world
        .db
        .run("begin; lock table dids in access exclusive mode")
        .await;
    let short = RouteRequest {
        deadline: Instant::now() + Duration::from_millis(100),
        ..caller.question()
    };
    let asked = tokio::spawn({
        let engine = engine.clone();
        async move { engine.route(short).await }
    });
    tokio::time::sleep(Duration::from_millis(120)).await;
    world.db.run("commit").await;
    assert!(asked.await.unwrap().is_err());
    assert_eq!(world.usage().await, (0, 0));
    let traces: i64 = world
        .db
        .one("select (select count(*) from calls) + (select count(*) from call_logs) + (select count(*) from decisions)")
        .await;
    assert_eq!(traces, 0);
}

#[tokio::test]
async fn a_fallback_that_answers_overrules_a_refusal() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    Caller::new().route(&engine).await.offer();
    let caller = Caller::new();
    caller.route(&engine).await.refusal();
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    world
        .db
        .run(
            "update calls set started_at = started_at - interval '9 seconds';
              update call_logs set timestamp_start = timestamp_start - interval '9 seconds'",
        )
        .await;
    engine.end(report).await.unwrap();
    assert_eq!(log(&world).await, "ANSWERED 7");
}

#[tokio::test]
async fn a_report_that_the_fallback_talked_corrects_what_was_seen_before_it_came() {
    let world = World::new("priority", &[link(1)]).await;
    let (asked, observes) = (world.engine("a"), world.engine("b"));
    let caller = Caller::new();
    caller.appears(&observes);
    caller.route(&asked).await.offer();
    world
        .db
        .run("update calls set started_at = started_at - interval '20 seconds'")
        .await;
    // One daemon has the report, and no database; the other one sees the channel go.
    tell(&observes, gone(caller.seen())).await;
    assert_eq!(log(&world).await, "ABANDONED 0");
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    for _ in 0..2 {
        asked.end(report.clone()).await.unwrap();
    }
    assert_eq!(log(&world).await, "ANSWERED 7");
    world.assert_quiet().await;
}

// --- what an answer is ---

#[tokio::test]
async fn a_caller_who_was_answered_before_has_not_been_answered_by_a_target() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    let first = caller.route(&engine).await.offer();
    caller.dials(&engine, "client1");
    let up = LiveChannel {
        dials: Some("PJSIP/client1".to_owned()),
        ..live(caller.seen(), true)
    };
    let ringing = live(caller.leg("client1"), false);
    for bridges in [None, Some(vec![])] {
        let its = ServerIdentity::default();
        let channels = [up.clone(), ringing.clone()];
        let repairs = compare_on(&engine, &server(), &its, &channels, bridges).await;
        assert_eq!(repairs.expect("compares").answered, 0);
    }
    assert_eq!(world.usage().await, (1, 0));
    tell(&engine, gone(caller.leg("client1"))).await;
    let second = caller
        .route_after(&engine, DialStatus::NoAnswer)
        .await
        .offer();
    assert_ne!(first.endpoint, second.endpoint);
    caller.end(&engine, Some(DialStatus::NoAnswer)).await;
    assert_eq!(log(&world).await, "NOANSWER 0");
    assert_eq!(total(&world).await, 0);
    world.assert_quiet().await;
}

#[tokio::test]
async fn an_inferred_answer_is_taken_back_by_the_dialplans_word() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    caller.route(&engine).await.offer();
    let target = caller.leg("client1");
    let bridge = vec![caller.uniqueid.clone(), target.uniqueid.clone()];
    let channels = [live(caller.seen(), true), live(target, true)];
    let its = ServerIdentity::default();
    let repairs = compare_on(&engine, &server(), &its, &channels, Some(vec![bridge])).await;
    assert_eq!(repairs.expect("compares").answered, 1);
    assert_eq!((world.usage().await, total(&world).await), ((0, 1), 1));
    caller.route_after(&engine, DialStatus::Busy).await.offer();
    assert_eq!((world.usage().await, total(&world).await), ((1, 0), 0));
    caller.end(&engine, Some(DialStatus::NoAnswer)).await;
    assert_eq!(log(&world).await, "NOANSWER 0");
    let outcomes: String = world
        .db
        .one("select string_agg(outcome, ',' order by attempt) from call_attempts")
        .await;
    assert_eq!(outcomes, "failed,failed");
    world.assert_quiet().await;
}

#[tokio::test]
async fn seconds_before_the_target_answered_are_not_billed() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    tell(&engine, answered(&caller, "client1")).await;
    world
        .db
        .run(
            "update calls set started_at = started_at - interval '20 seconds';
              update call_attempts set offered_at = offered_at - interval '8 seconds',
                  answered_at = answered_at - interval '3 seconds'",
        )
        .await;
    // The caller was in a menu for twelve seconds: Asterisk's time counts from there.
    let mut report = caller.report(Some(DialStatus::Answer), Dialled::Unsaid);
    report.answered_seconds = Some(15);
    engine.end(report).await.unwrap();
    assert_eq!(log(&world).await, "ANSWERED 3");

    // Without an observer what was told counts since the target was offered, at the most.
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    let mut report = caller.report(Some(DialStatus::Answer), Dialled::Unsaid);
    report.answered_seconds = Some(4_000);
    engine.end(report).await.unwrap();
    assert_eq!(log(&world).await, "ANSWERED 3,ANSWERED 0");
    let sound: bool = world
        .db
        .one("select bool_and(timestamp_answered between timestamp_start and timestamp_end) from call_logs")
        .await;
    assert!(sound);
    // The table knows it too: what another program writes is cut, and a CHECK stands behind it.
    world
        .db
        .run("update call_logs set billsec_seconds = duration_seconds + 1")
        .await;
    let sound: bool = world
        .db
        .one("select bool_and(billsec_seconds = duration_seconds) from call_logs")
        .await;
    assert!(sound);
}

// --- when a slot ends ---

#[tokio::test]
async fn a_slot_is_free_when_the_targets_channel_is_gone_and_not_before() {
    let world = World::new("priority", &[one(1), one(2)]).await;
    let engine = world.engine("a");
    for status in [DialStatus::Answer, DialStatus::Busy, DialStatus::Cancel] {
        let caller = Caller::new();
        caller.appears(&engine);
        caller.route(&engine).await.offer();
        caller.dials(&engine, "client1");
        if status == DialStatus::Answer {
            tell(&engine, answered(&caller, "client1")).await;
        }
        caller.end(&engine, Some(status)).await;
        let open: i64 = world
            .db
            .one("select count(*) from calls where ended_at is null")
            .await;
        assert_eq!(open, 0, "the call is over");
        let (held, confirmed) = world.usage().await;
        assert_eq!(held + confirmed, 1, "its target's channel is not");
        world.assert_sound().await;
        engine.sweep().await.unwrap();
        compare(&engine, &[live(caller.leg("client1"), true)]).await;
        let (held, confirmed) = world.usage().await;
        assert_eq!(held + confirmed, 1, "it is still there");
        tell(&engine, gone(caller.leg("client1"))).await;
        world.assert_quiet().await;
    }
    assert_eq!(total(&world).await, 1);
}

#[tokio::test]
async fn the_next_target_is_offered_while_the_last_ones_channel_lingers() {
    let world = World::new("priority", &[one(1), one(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    caller.route(&engine).await.offer();
    caller.dials(&engine, "client1");
    let second = caller.route_after(&engine, DialStatus::Busy).await.offer();
    assert_eq!(second.endpoint, "client2");
    assert_eq!(world.usage().await, (2, 0));
    // Nobody sees it go; the next comparison does.
    caller.end(&engine, Some(DialStatus::Cancel)).await;
    let repairs = compare(&engine, &[]).await;
    assert!(repairs.released >= 1, "{repairs:?}");
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_slot_left_open_is_released_by_whoever_watches_next_or_when_nobody_does() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    caller.route(&engine).await.offer();
    caller.dials(&engine, "client1");
    caller.end(&engine, Some(DialStatus::Cancel)).await;
    // The daemon dies; its successor lists the channels.
    drop(engine);
    let next = world.engine("a");
    assert_eq!(
        compare(&next, &[live(caller.leg("client1"), false)])
            .await
            .released,
        0
    );
    assert_eq!(compare(&next, &[]).await.released, 1);
    world.assert_quiet().await;

    // A daemon that does not watch the server leaves the slot to the one that does.
    let caller = Caller::new();
    caller.appears(&next);
    caller.route(&next).await.offer();
    caller.dials(&next, "client1");
    compare(
        &next,
        &[
            live(caller.seen(), false),
            live(caller.leg("client1"), false),
        ],
    )
    .await;
    let other = daemon(&world, "b", &[]);
    caller.end(&other, Some(DialStatus::Cancel)).await;
    assert_eq!(world.usage().await, (1, 0));
    next.leave(&server()).await.unwrap();
    world
        .db
        .run("update reservations set attempt_ended_at = now() - interval '1 minute'")
        .await;
    other.sweep().await.unwrap();
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_target_that_leaves_a_call_gives_its_slot_back_and_ends_what_is_billed() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    caller.route(&engine).await.offer();
    caller.dials(&engine, "client1");
    tell(&engine, answered(&caller, "client1")).await;
    let transferred = [live(caller.seen(), true)];
    // Transferred: the agent's channel goes, the caller's stays.
    tell(&engine, gone(caller.leg("client1"))).await;
    assert_eq!(
        compare(&engine, &transferred).await.departed,
        0,
        "an end may be on its way"
    );
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(compare(&engine, &transferred).await.departed, 1);
    assert_eq!(world.usage().await, (0, 0));
    Caller::new().route(&engine).await.offer();
    world
        .db
        .run(
            "update calls set started_at = started_at - interval '1 hour';
              update call_attempts set offered_at = offered_at - interval '1 hour',
                  answered_at = answered_at - interval '10 seconds'",
        )
        .await;
    let mut report = caller.report(Some(DialStatus::Answer), Dialled::Unsaid);
    report.answered_seconds = Some(3_600);
    engine.end(report).await.unwrap();
    assert!(["ANSWERED 10", "ANSWERED 11"].contains(&log(&world).await.as_str()));
    assert_eq!(total(&world).await, 1);
}

#[tokio::test]
async fn a_daemon_that_came_later_finds_out_that_a_target_has_left() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    tell(&engine, answered(&caller, "client1")).await;
    let later = world.engine("a");
    let talking = [live(caller.seen(), true), live(caller.leg("client1"), true)];
    assert_eq!(compare(&later, &talking).await.departed, 0);
    assert_eq!(compare(&later, &talking[..1]).await.departed, 1);
    assert_eq!(world.usage().await, (0, 0));
    caller.end(&later, Some(DialStatus::Answer)).await;
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_dial_string_of_ones_own_frees_nothing() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    for dials in [
        "PJSIP/18005550100@client1",
        "PJSIP/other&PJSIP/client1",
        "Local/client1@agents/n",
        "PJSIP/reception",
    ] {
        let channel = LiveChannel {
            dials: Some(dials.to_owned()),
            ..live(caller.seen(), true)
        };
        let repairs = compare(&engine, &[channel]).await;
        assert_eq!((repairs.undialled, repairs.answered), (0, 0), "{dials}");
        assert_eq!(world.usage().await, (1, 0), "{dials}");
    }
}

#[tokio::test]
async fn a_channel_that_asks_again_after_its_call_is_a_call_of_its_own() {
    let world = World::new("priority", &[link(1)]).await;
    world
        .db
        .run(
            "insert into dids (number, user_id, status) values ('+18005550199', 1, 'active');
              insert into campaign_dids values (1, 2)",
        )
        .await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.appears(&engine);
    for did in ["+18005550100", "+18005550100", "+18005550199"] {
        let again = caller.clone().dialling(did);
        again.route(&engine).await.offer();
        again.dials(&engine, "client1");
        tell(&engine, answered(&again, "client1")).await;
        tell(&engine, gone(again.leg("client1"))).await;
    }
    caller
        .clone()
        .dialling("+18005550199")
        .end(&engine, Some(DialStatus::Answer))
        .await;
    let logged: String = world
        .db
        .one("select string_agg(incoming_did_number || ' ' || call_status, ',' order by id) from call_logs")
        .await;
    assert_eq!(
        logged,
        "+18005550100 ANSWERED,+18005550100 ANSWERED,+18005550199 ANSWERED"
    );
    assert_eq!(total(&world).await, 3);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_channel_that_reported_the_end_of_its_call_may_ask_for_the_next_at_once() {
    let world = World::new("priority", &[one(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    for _ in 0..5 {
        caller.route(&engine).await.offer();
        caller.end(&engine, Some(DialStatus::Answer)).await;
        // The dialplan goes on for some milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rows: i64 = world.db.one("select count(*) from call_logs").await;
    assert_eq!(rows, 5);
    world.assert_quiet().await;
}

// --- the second daemon ---

#[tokio::test]
async fn an_offer_that_was_lost_is_repeated_on_every_attempt() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let [first, second] = ["a", "b"].map(|node| world.engine(node));
    let caller = Caller::new();
    let offer = caller.route(&first).await.offer();
    let question = || RouteRequest {
        previous: Some(PreviousAttempt {
            status: DialStatus::Busy,
            cause: Some(HangupCause::USER_BUSY),
        }),
        about: Some(offer.reservation_id),
        ..caller.question()
    };
    let lost = first.route(question()).await.unwrap().offer();
    assert_eq!(lost.endpoint, "client2");
    // Its answer was lost. The dialplan asks the other daemon the same.
    let again = second.route(question()).await.unwrap().offer();
    assert_eq!(again, lost);
    assert_eq!(world.usage().await, (1, 0));
    world
        .db
        .run(
            "update call_attempts set offered_at = offered_at - interval '1 minute';
              update calls set started_at = started_at - interval '1 minute'",
        )
        .await;
    assert_eq!(
        second.route(question()).await.unwrap().offer(),
        lost,
        "however long it took"
    );
    caller.end(&second, Some(DialStatus::NoAnswer)).await;
    let attempts: String = world
        .db
        .one("select string_agg(endpoint_id || ' ' || dial_status, ',' order by attempt) from call_attempts")
        .await;
    assert_eq!(attempts, "client1 BUSY,client2 NOANSWER");
    world.assert_quiet().await;
}

// --- locks ---

#[tokio::test]
async fn a_locked_target_is_passed_over_and_the_decision_says_so() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    world
        .db
        .run("begin; select from campaign_client_settings where id = 1 for update")
        .await;
    let offer = Caller::new().route(&engine).await.offer();
    assert_eq!(offer.endpoint, "client2");
    world.db.run("commit").await;
    let verdict: String = world
        .db
        .one(
            "select string_agg((r ->> 'link_id') || ' ' || (r ->> 'verdict'), ',' order by n)
              from decisions, jsonb_array_elements(ranking) with ordinality x (r, n)",
        )
        .await;
    assert_eq!(verdict, "2 eligible,1 link_locked");
    // Where all are locked there is no verdict: the dialplan's fallback is better than a busy tone.
    world
        .db
        .run("begin; select from campaign_client_settings for update")
        .await;
    let none = engine.route(Caller::new().question()).await;
    assert!(matches!(none, Err(Error::Locked)), "{none:?}");
    world.db.run("commit").await;
}
