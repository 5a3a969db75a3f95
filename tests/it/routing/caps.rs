use std::time::Duration;

use capconduit::domain::DialStatus;
use capconduit::routing::Verdict;

use crate::support::World;
use crate::support::world::{Caller, LinkSpec, link};

fn capped(client: i32, max_concurrency: i32, total: Option<i32>) -> LinkSpec {
    LinkSpec {
        max_concurrency,
        total,
        ..link(client)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_callers_on_two_daemons_never_pass_a_concurrency_cap() {
    let world = World::new("round_robin", &[capped(1, 5, None), capped(2, 3, None)]).await;
    let engines = [world.engine("a"), world.engine("b")];
    let calls: Vec<_> = (0..128)
        .map(|i| {
            let engine = engines[i % 2].clone();
            tokio::spawn(async move { Caller::new().route(&engine).await })
        })
        .collect();
    let mut offered = 0;
    for call in calls {
        offered += usize::from(matches!(call.await.unwrap(), Verdict::Dial(_)));
    }
    assert_eq!(offered, 8);
    world.assert_sound().await;
    let refused: i64 = world
        .db
        .one("select count(*) from call_logs where call_status = 'REJECTED_CC'")
        .await;
    assert_eq!(refused, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn total_caps_hold_while_calls_come_and_go() {
    let world = World::new(
        "weighted",
        &[capped(1, 4, Some(25)), capped(2, 3, Some(10))],
    )
    .await;
    let engines = [world.engine("a"), world.engine("b")];
    let workers: Vec<_> = (0..24_usize)
        .map(|i| {
            let engine = engines[i % 2].clone();
            tokio::spawn(async move {
                let mut answered = 0;
                for round in 0..12_usize {
                    let caller = Caller::new();
                    if let Verdict::Dial(_) = caller.route(&engine).await {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        let status = [DialStatus::Answer, DialStatus::NoAnswer][(i + round) % 2];
                        caller.end(&engine, Some(status)).await;
                        answered += usize::from(status == DialStatus::Answer);
                    } else {
                        caller.end(&engine, None).await;
                    }
                }
                answered
            })
        })
        .collect();
    let watcher = async {
        while workers.iter().any(|w| !w.is_finished()) {
            world.assert_sound().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    watcher.await;
    let mut answered = 0;
    for worker in workers {
        answered += worker.await.unwrap();
    }
    world.assert_quiet().await;
    let counted: i64 = world
        .db
        .one("select sum(current_total_calls) from campaign_client_settings")
        .await;
    assert_eq!(counted, answered as i64);
    assert!(counted <= 35);
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        24 * 12
    );
}

#[tokio::test]
async fn a_cap_lowered_below_use_skips_the_link_and_cuts_nobody() {
    let world = World::new("priority", &[capped(1, 3, None), capped(2, 9, None)]).await;
    let engine = world.engine("a");
    for _ in 0..2 {
        Caller::new().route(&engine).await;
    }
    world
        .db
        .run("update campaign_client_settings set max_concurrency = 1 where client_id = 1")
        .await;
    let Verdict::Dial(offer) = Caller::new().route(&engine).await else {
        panic!("refused");
    };
    assert_eq!(offer.endpoint, "client2");
    assert_eq!(world.usage().await, (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_raised_from_outside_is_respected_at_once() {
    let world = World::new("priority", &[capped(1, 100, Some(20))]).await;
    let engine = world.engine("a");
    let outside = tokio::spawn({
        let settings = world.db.settings();
        async move {
            let client = capconduit::db::connect_as_owner(&settings).await.unwrap();
            for _ in 0..10 {
                client
                    .batch_execute(
                        "update campaign_client_settings
                         set current_total_calls = current_total_calls + 1",
                    )
                    .await
                    .unwrap();
            }
        }
    });
    let mut offered = 0;
    for _ in 0..30 {
        offered += i32::from(matches!(
            Caller::new().route(&engine).await,
            Verdict::Dial(_)
        ));
    }
    outside.await.unwrap();
    // Every unit was given to exactly one of: an offer made before it was taken, or the outside count.
    let counted: i32 = world
        .db
        .one("select current_total_calls + held from campaign_client_settings, link_usage")
        .await;
    assert_eq!(counted, offered + 10);
    assert!(offered <= 20);
    assert!(matches!(Caller::new().route(&engine).await, Verdict::Reject(_)) || counted < 20);
}
