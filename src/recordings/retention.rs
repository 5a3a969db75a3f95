//! Deletes recordings whose time is over: files, transcript, job. Their rows stay and say so.
//!
//! How long that is, its campaign says, between what the platform allows at least and at most; what they say now counts
//! for what is stored, too. One whose deletion somebody asked for is one whose time is over now. Whoever holds a recording waits for us or we
//! for them: its row is locked while its files are deleted.

use std::convert::Infallible;
use std::time::Duration;

use tracing::{info, warn};

use super::object_storage::Key;
use super::{Error, Places};
use crate::db::Store;
use crate::runtime::clock;
use crate::runtime::metrics::{self, RecordingOutcome};
use crate::runtime::telemetry::Chain;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(120);

/// Deleted in one round at most.
const BATCH: usize = 500;

/// So many failures in one round mean that the storage is away.
const ENOUGH_FAILURES: usize = 3;

/// Recordings looked at in one statement.
const LOOKED_AT: i64 = 2_000;

/// Statements in one round: of very many recordings the rest is looked at in the next.
const LOOKS: u32 = 50;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// How long recordings are kept, whatever their campaign says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Days, at least.
    pub fewest: Option<i32>,
    /// Days, at most.
    pub most: Option<i32>,
}

/// Applies campaigns' days and the limits to recordings after `after`, and returns after which the next round goes on.
pub async fn apply(store: &Store, limits: Limits, after: i64) -> Result<i64, Error> {
    let mut last = after;
    let mut changed = 0;
    let mut looks = 0;
    while looks < LOOKS {
        let applied = store.apply_retention(last, LOOKED_AT, limits.fewest, limits.most);
        let Some(applied) = applied.await? else {
            last = 0;
            break;
        };
        looks += 1;
        changed += applied.changed;
        last = applied.last;
        if applied.seen < LOOKED_AT {
            last = 0;
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if changed > 0 {
        info!(
            changed,
            "recordings are kept for another time: their campaign or the platform says so"
        );
    }
    Ok(last)
}

/// Deletes again and again. May be dropped at any moment.
pub async fn run(places: Places, store: Store, limits: Limits) -> Infallible {
    let mut elsewhere = false;
    let mut after = 0;
    loop {
        match apply(&store, limits, after).await {
            Ok(last) => after = last,
            Err(error) => warn!(error = %Chain(&error),
                "how long recordings are kept cannot be looked at now; it is tried again"),
        }
        match round(&places, &store).await {
            Ok(0) => {}
            Ok(deleted) => info!(deleted, "recordings deleted whose time was over"),
            Err(error) => warn!(error = %Chain(&error),
                "recordings whose time is over cannot be deleted now; it is tried again"),
        }
        let now = clock::now();
        let location = places.storage.location();
        if let Ok(counts) = store.count_recordings(now, now, location).await {
            if counts.elsewhere && !elsewhere {
                warn!(
                    location,
                    "recordings whose time is over are kept elsewhere than recording.storage says, and stay: move \
                     the files there and set recordings.location to it"
                );
            }
            elsewhere = counts.elsewhere;
        }
        tokio::time::sleep(ROUND.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

/// Deletes what is due. Returns how many recordings; an error where some are left.
pub async fn round(places: &Places, store: &Store) -> Result<usize, Error> {
    let location = places.storage.location();
    let mut deleted = 0;
    let mut failed = Vec::new();
    let mut last = None;
    while deleted < BATCH && failed.len() < ENOUGH_FAILURES {
        let now = clock::now();
        let Some(doomed) = store.doomed_recording(now, location, &failed).await? else {
            break;
        };
        match delete_files(places, &doomed.keys).await {
            Ok(()) => {
                info!(
                    recording = doomed.stem,
                    "recording deleted: its time was over"
                );
                doomed.delete(now).await?;
                metrics::recordings(RecordingOutcome::Deleted, 1);
                deleted += 1;
            }
            Err(problem) => {
                failed.push(doomed.recording_id);
                doomed.leave().await;
                last = Some(problem);
            }
        }
    }
    match last {
        Some(problem) => Err(problem),
        None => Ok(deleted),
    }
}

async fn delete_files(places: &Places, keys: &[String]) -> Result<(), Error> {
    // What is no key was never stored.
    for key in keys.iter().filter_map(|key| Key::parse(key)) {
        places.storage.delete(&key).await?;
    }
    Ok(())
}
