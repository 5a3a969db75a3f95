//! What people end because nobody else can.

use capconduit::domain::{CallId, DialStatus, ReservationId, ServerName};
use capconduit::routing::DeclaredDead;

use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link, server};

/// A server that was seen so many seconds ago.
async fn seen(world: &World, name: &str, observer: &str, seconds: u32) {
    world
        .db
        .run(&format!(
            "insert into servers (name, observer, heartbeat)
             values ('{name}', {observer}, now() - interval '{seconds} seconds')
             on conflict (name) do update set observer = excluded.observer, heartbeat = excluded.heartbeat"
        ))
        .await;
}

#[tokio::test]
async fn a_server_that_is_seen_is_not_declared_dead() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    let unknown = ServerName::parse("other").expect("a name");
    let dead = engine.declare_server_dead(&unknown, "staff").await.unwrap();
    assert_eq!(dead, DeclaredDead::Unknown);

    seen(&world, "pbx", "'node-b'", 5).await;
    let dead = engine
        .declare_server_dead(&server(), "staff")
        .await
        .unwrap();
    let DeclaredDead::Observed {
        observer,
        seconds_ago,
    } = dead
    else {
        panic!("{dead:?}")
    };
    assert_eq!(observer, "node-b");
    assert!((5..60).contains(&seconds_ago), "{seconds_ago}");
    assert_eq!(world.usage().await, (1, 0), "nothing was ended");
    let said: i64 = world
        .db
        .one("select count(*) from servers where declared_dead_at is not null")
        .await;
    assert_eq!(said, 0);
}

#[tokio::test]
async fn calls_of_a_dead_server_end_and_others_go_on() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let (lost, other) = (Caller::new(), Caller::new());
    let lost_call = lost.route(&engine).await.offer();
    let other_call = other.route(&engine).await.offer();
    world
        .db
        .run(&format!(
            "update calls set server_name = 'pbx2' where call_id = {}",
            other_call.call_id
        ))
        .await;
    seen(&world, "pbx", "'node-b'", 61).await;
    let dead = engine.declare_server_dead(&server(), "alan").await.unwrap();
    assert_eq!(dead, DeclaredDead::Done { calls: 1 });
    let by: String = world
        .db
        .one("select declared_dead_by from servers where declared_dead_at is not null")
        .await;
    assert_eq!(by, "alan");
    let status: String = world
        .db
        .one(&format!(
            "select call_status from call_logs where id = {}",
            lost_call.call_id
        ))
        .await;
    assert_eq!(status, "FAILED");
    assert_eq!(world.usage().await, (1, 0));
    // Again, after nobody ever observed it: nothing more to end.
    seen(&world, "pbx", "null", 0).await;
    let dead = engine.declare_server_dead(&server(), "alan").await.unwrap();
    assert_eq!(dead, DeclaredDead::Done { calls: 0 });
    other.end(&engine, Some(DialStatus::NoAnswer)).await;
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_call_released_by_hand_is_logged_once_and_frees_its_slot() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let offer = caller.route(&engine).await.offer();
    assert!(engine.release_call(offer.call_id).await.unwrap());
    assert!(!engine.release_call(offer.call_id).await.unwrap());
    assert!(!engine.release_call(CallId(4_711)).await.unwrap());
    world.assert_quiet().await;
    // Its late report changes nothing.
    caller.end(&engine, Some(DialStatus::Answer)).await;
    world.assert_quiet().await;
    let rows: i64 = world.db.one("select count(*) from call_logs").await;
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_slot_released_by_hand_leaves_its_call_under_way() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    let offer = caller.route(&engine).await.offer();
    let slot = offer.reservation_id;
    assert!(
        !engine
            .release_reservation(ReservationId(slot.0 + 1))
            .await
            .unwrap()
    );
    assert!(engine.release_reservation(slot).await.unwrap());
    assert!(!engine.release_reservation(slot).await.unwrap());
    assert_eq!(world.usage().await, (0, 0));
    world.assert_sound().await;
    let under_way: i64 = world
        .db
        .one("select count(*) from calls where ended_at is null")
        .await;
    assert_eq!(under_way, 1);
    caller.end(&engine, Some(DialStatus::Answer)).await;
    world.assert_quiet().await;

    // One whose call is gone already.
    let offer = Caller::new().route(&engine).await.offer();
    world
        .db
        .run(&format!(
            "delete from calls where call_id = {}",
            offer.call_id
        ))
        .await;
    assert!(
        engine
            .release_reservation(offer.reservation_id)
            .await
            .unwrap()
    );
    world.assert_quiet().await;
}
