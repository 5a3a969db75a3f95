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

use std::time::{Duration, Instant};

/// Longer than anything that will happen takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; fails the test when it does not within [`PATIENCE`].
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All files below a folder.
pub fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
