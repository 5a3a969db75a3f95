//! What tests stand on: a private PostgreSQL, rows to route calls with, and peers that speak as Asterisk.

pub mod agi_client;
pub mod agi_daemon;
pub mod api;
pub mod asterisk_args;
pub mod daemon;
pub mod fake_ari;
pub mod fault_proxy;
pub mod journal;
pub mod postgres;
pub mod scripted_router;
pub mod standby;
pub mod world;

pub use postgres::TestDb;
pub use world::{DID, World};

use std::time::Duration;

/// Waits until `condition` holds; fails the test when it does not within ten seconds.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    for _ in 0..1_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen within 10 s: {what}");
}
