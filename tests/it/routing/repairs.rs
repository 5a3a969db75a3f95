use capconduit::domain::{DialStatus, DialledOn, LiveChannel};
use capconduit::history::House;
use capconduit::routing::Dialled;

use crate::support::World;
use crate::support::world::{
    Caller, VerdictExt, compare, compare_on, identity, link, live, server,
};

fn channel(caller: &Caller, up: bool) -> LiveChannel {
    LiveChannel {
        dials: Some("PJSIP/client1".to_owned()),
        ..live(caller.seen(), up)
    }
}

#[tokio::test]
async fn calls_without_a_channel_are_ended_and_those_with_one_adopted() {
    let world = World::new("priority", &[link(1)]).await;
    let dead_daemon = world.engine("a");
    let (talks, rings, lost) = (Caller::new(), Caller::new(), Caller::new());
    for caller in [&talks, &rings, &lost] {
        caller.route(&dead_daemon).await.offer();
    }
    drop(dead_daemon);

    let engine = world.engine("a");
    let target = talks.leg("client1");
    let bridge = vec![talks.uniqueid.clone(), target.uniqueid.clone()];
    let channels = [
        channel(&talks, true),
        live(target, true),
        channel(&rings, false),
    ];
    let its = identity("aa", "");
    let repairs = compare_on(&engine, &server(), &its, &channels, Some(vec![bridge]))
        .await
        .unwrap();
    assert_eq!((repairs.lost, repairs.answered), (1, 1));
    assert_eq!(world.usage().await, (1, 1));
    world.assert_sound().await;
    let logged: String = world.db.one("select call_status from call_logs").await;
    assert_eq!(logged, "FAILED");
    let states: String = world
        .db
        .one("select string_agg(state, ',' order by reservation_id) from reservations")
        .await;
    assert_eq!(states, "confirmed,held,expired");

    let target = capconduit::domain::CallFact::Gone {
        channel: talks.leg("client1"),
        cause: None,
    };
    engine.sight(&server(), &target);
    talks.end(&engine, Some(DialStatus::Answer)).await;
    rings.end(&engine, Some(DialStatus::Busy)).await;
    // Which channel rang was not known: the next list says that none is left.
    compare_on(&engine, &server(), &its, &[], None)
        .await
        .unwrap();
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_call_made_after_the_list_was_begun_is_left_alone() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let open = engine.open_calls(&server()).await.unwrap();
    Caller::new().route(&engine).await.offer();
    let its = identity("aa", "");
    let nothing = capconduit::domain::LiveView::default();
    let repairs = engine.reconcile(&server(), &its, open, &nothing).await;
    assert_eq!(repairs.unwrap().lost, 0);
    assert_eq!(world.usage().await, (1, 0));
}

#[tokio::test]
async fn a_call_of_an_unknown_server_is_judged_only_once_it_was_seen_somewhere() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("backup");
    let caller = Caller::new();
    let mut arrival = caller.arrival();
    arrival.peer = Some([192, 0, 2, 7].into());
    let request = capconduit::routing::RouteRequest {
        arrival,
        ..caller.question()
    };
    engine.route(request).await.unwrap().offer();

    compare(&engine, &[]).await;
    assert_eq!(world.usage().await, (1, 0), "not ours to judge");

    let repairs = compare(&engine, &[channel(&caller, false)]).await;
    assert_eq!(repairs.adopted, 1);
    let repairs = compare(&engine, &[]).await;
    assert_eq!(repairs.lost, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_call_that_talks_to_the_fallback_keeps_no_slot() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    // Claimed, but the daemon died before it could say so.
    caller.route(&engine).await.offer();
    let mut fallback = channel(&caller, true);
    fallback.dials = Some("PJSIP/reception".to_owned());
    let repairs = compare(&engine, &[fallback.clone()]).await;
    assert_eq!(repairs.undialled, 0, "a dial string proves nothing");
    fallback.reservation = Some(DialledOn::Fallback);
    let repairs = compare(&engine, &[fallback]).await;
    assert_eq!(repairs.undialled, 1);
    assert_eq!(world.usage().await, (0, 0));
    let report = caller.report(Some(DialStatus::Answer), Dialled::Fallback);
    engine.end(report).await.unwrap();
    world.assert_quiet().await;
    assert_eq!(
        world
            .db
            .one::<String>(
                "select call_status || current_total_calls from call_logs, campaign_client_settings"
            )
            .await,
        "ANSWERED0"
    );
}

#[tokio::test]
async fn a_channel_of_a_later_call_does_not_keep_an_old_one_alive() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let made_at = |second: i64| {
        let mut channel = channel(&caller, true);
        channel.channel.created_at = jiff::Timestamp::from_second(1_795_206_000 + second).ok();
        channel
    };
    caller.route(&engine).await.offer();
    assert_eq!(compare(&engine, &[made_at(0)]).await.adopted, 1);
    assert_eq!(compare(&engine, &[made_at(0)]).await.lost, 0);
    // Asterisk was restarted and gave the unique id again: told by its own clock, whatever ours says.
    assert_eq!(compare(&engine, &[made_at(1)]).await.lost, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_call_beyond_the_hard_limit_is_ended_by_the_sweep() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    Caller::new().route(&engine).await.offer();
    engine.sweep().await.unwrap();
    assert_eq!(world.usage().await, (1, 0));
    world
        .db
        .run("update calls set expires_at = now() - interval '1 second'")
        .await;
    engine.sweep().await.unwrap();
    world.assert_quiet().await;
    assert_eq!(
        world
            .db
            .one::<String>("select call_status from call_logs")
            .await,
        "FAILED"
    );
}

#[tokio::test]
async fn counters_and_reservations_broken_by_hand_are_mended() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    Caller::new().route(&engine).await.offer();
    world
        .db
        .run("update link_usage set held = 7, confirmed = 2 where link_id = 2;
              insert into reservations (call_id, attempt, link_id, user_id, node_name, state, held_at)
              values (999999, 1, 1, 1, 'x', 'held', now());
              update link_usage set held = held + 1 where link_id = 1")
        .await;
    engine.sweep().await.unwrap();
    world.assert_sound().await;
    assert_eq!(world.usage().await, (1, 0));
}

#[tokio::test]
async fn ended_calls_are_forgotten_but_their_log_is_not() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let (old, live) = (Caller::new(), Caller::new());
    old.route(&engine).await.offer();
    old.end(&engine, Some(DialStatus::Answer)).await;
    live.route(&engine).await.offer();
    world
        .db
        .run("update calls set ended_at = ended_at - interval '1 day' where ended_at is not null;
              update reservations set ended_at = ended_at - interval '1 day' where ended_at is not null")
        .await;
    let failures = House::new(world.db.store(), Vec::new()).round().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(world.db.one::<i64>("select count(*) from calls").await, 1);
    assert_eq!(
        world
            .db
            .one::<i64>("select count(*) from reservations")
            .await,
        1
    );
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        1
    );
    // A report repeated after that still does not make a second row.
    old.end(&engine, Some(DialStatus::Answer)).await;
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        1
    );
}
