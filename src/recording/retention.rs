//! Deletes recordings whose time is over: files, transcript, job. Their rows stay and say so.
//!
//! One whose deletion somebody asked for is one whose time is over now. Whoever holds a recording waits for us or we
//! for them: its row is locked while its files are deleted.

use std::convert::Infallible;
use std::time::Duration;

use tracing::{info, warn};

use super::{Error, Places};
use crate::clock;
use crate::metrics::{self, RecordingOutcome};
use crate::storage::Key;
use crate::store::Store;
use crate::telemetry::Chain;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(120);

/// Deleted in one round at most.
const BATCH: usize = 500;

/// So many failures in one round mean that the storage is away.
const ENOUGH_FAILURES: usize = 3;

/// Deletes again and again. May be dropped at any moment.
pub async fn run(places: Places, store: Store) -> Infallible {
    let mut elsewhere = false;
    loop {
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
