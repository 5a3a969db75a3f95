//! Erasures of callers and sellers, carried out: step by step, by whichever daemon has the lease.
//!
//! Each step changes some thousand rows at most and notes how far it is, so that calls never wait for it and a daemon
//! that is killed loses nothing. Files of recordings are deleted as those whose time is over are. An erasure is done
//! when a pass through all tables found nothing, no call of the caller is under way, and no file is left to delete. For two
//! days more it looks at calls that were written since: their ends may have waited in a daemon for the database.

pub mod api;
pub mod store;
use std::convert::Infallible;
use std::time::Duration;

use tracing::{debug, info, warn};

use self::store::{Claimed, Step};
use crate::db::{Error, Store};
use crate::recordings;
use crate::recordings::Places;
use crate::runtime::telemetry::Chain;

/// Between two looks for something to do.
const LOOK: Duration = Duration::from_secs(3);

/// How long a daemon has an erasure after its last step.
const LEASE: Duration = Duration::from_secs(60);

/// How long an erasure waits for calls to end, or for files to be deleted, before it is looked at again.
const WAIT: Duration = Duration::from_secs(10);

/// Blocks of a table, 8 KiB each, read in one step: some ten thousand rows of the call log.
const BLOCKS: i32 = 256;

/// The fewest that are tried when a step took too long.
const FEWEST_BLOCKS: i32 = 4;

/// Between two steps, so that calls have the disk to themselves at times.
const PAUSE: Duration = Duration::from_millis(10);

/// After an error.
const AFTER_ERROR: Duration = Duration::from_secs(15);

/// Carries out what is asked for, again and again. May be dropped at any moment. `places` is where recordings are, on
/// a daemon that deletes them.
pub async fn run(node: String, store: Store, places: Option<Places>) -> Infallible {
    loop {
        if let Err(error) = round(&node, &store, places.as_ref(), WAIT).await {
            // That the database is away is told elsewhere, once.
            if error.is_lost_connection() {
                debug!(error = %Chain(&error), "erasures wait for the database");
            } else {
                warn!(error = %Chain(&error), "an erasure cannot go on now; it is tried again");
            }
        }
        tokio::time::sleep(LOOK.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

/// Works on every erasure that waits, one after the other. What has to wait longer does so for `wait`. Returns how many
/// were done.
pub async fn round(
    node: &str,
    store: &Store,
    places: Option<&Places>,
    wait: Duration,
) -> Result<usize, Error> {
    let mut done = 0;
    while let Some(claimed) = store.claim_erasure(node, LEASE).await? {
        match work(store, &claimed, places, wait).await {
            Ok(Step::Done) => {
                info!(erasure = claimed.erasure_id, "an erasure is done");
                done += 1;
            }
            Ok(_) => {}
            Err(error) => {
                let told = Chain(&error).to_string();
                store.fail_erasure(&claimed, &told, AFTER_ERROR).await?;
                return Err(error);
            }
        }
    }
    while let Some(rows) = store.erase_late().await? {
        if rows > 0 {
            info!(rows, "what arrived after an erasure is erased too");
        }
    }
    Ok(done)
}

/// Works on one until it is done, has to wait, or is another daemon's.
async fn work(
    store: &Store,
    claimed: &Claimed,
    places: Option<&Places>,
    wait: Duration,
) -> Result<Step, Error> {
    let mut blocks = BLOCKS;
    loop {
        let step = match store.erasure_step(claimed, LEASE, blocks).await {
            // A slow disk, or a row that a call has: less at once.
            Err(error) if error.is_overload() && blocks > FEWEST_BLOCKS => {
                blocks /= 4;
                continue;
            }
            step => step?,
        };
        let step = match step {
            Step::EndOfPass => store.end_erasure_pass(claimed, wait).await?,
            step => step,
        };
        match step {
            Step::More | Step::EndOfPass => tokio::time::sleep(PAUSE).await,
            Step::Waiting => {
                if let Some(places) = places {
                    // What fails here is told and tried again by the deletion itself.
                    if let Err(error) = recordings::retention::round(places, store).await {
                        debug!(error = %Chain(&error), "files of an erasure wait to be deleted");
                    }
                }
                return Ok(step);
            }
            Step::Done | Step::Lost => return Ok(step),
        }
    }
}
