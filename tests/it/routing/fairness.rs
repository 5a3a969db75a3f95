use crate::support::World;
use crate::support::world::{Caller, LinkSpec, VerdictExt, link};

/// The links in the order in which they were offered their calls.
async fn sequence(world: &World) -> Vec<i32> {
    let rows = world
        .db
        .owner
        .query("select link_id from decisions order by decision_id", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// 64 callers at a time over two daemons, which are then replaced by new ones.
async fn run_calls(world: &World, rounds: usize) {
    for round in 0..rounds {
        let engines = [
            world.engine(&format!("a{round}")),
            world.engine(&format!("b{round}")),
        ];
        let calls: Vec<_> = (0..64)
            .map(|i| {
                let engine = engines[i % 2].clone();
                tokio::spawn(async move { Caller::new().route(&engine).await.offer() })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_is_strict_with_64_callers_two_daemons_and_restarts() {
    let world = World::new("round_robin", &[link(1), link(2), link(3)]).await;
    run_calls(&world, 3).await;
    let sequence = sequence(&world).await;
    assert_eq!(sequence.len(), 192);
    for (i, chosen) in sequence.iter().enumerate() {
        assert_eq!(*chosen, (i % 3) as i32 + 1, "call {i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weighted_stays_within_one_call_of_the_ideal_share_at_every_prefix() {
    let weights = [90, 1, 3, 3, 98, 9, 10];
    let links: Vec<LinkSpec> = (1..)
        .zip(weights)
        .map(|(client, weight)| LinkSpec {
            weight,
            ..link(client)
        })
        .collect();
    let world = World::new("weighted", &links).await;
    run_calls(&world, 4).await;
    let total: i32 = weights.iter().sum();
    let mut counts = [0_i32; 7];
    for (k, chosen) in (1..).zip(sequence(&world).await) {
        counts[chosen as usize - 1] += 1;
        for (count, weight) in counts.iter().zip(weights) {
            let off = (k * weight - count * total).abs();
            assert!(off < total, "after {k} calls: {counts:?}");
        }
    }
}
