//! Reports of ended calls that came while the database was away.
//!
//! The dialplan reports an end once and does not wait. What cannot be settled then is kept here, in order,
//! and settled when the database is back. Where the daemon has a directory of its own, it is on disk as well, for after a
//! restart. Bounded: beyond that the observers and the sweep end the calls with less detail.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tracing::{error, info, warn};

use super::spool::Spool;
use super::{EndReport, Engine, Error};
use crate::domain::UniqueId;

/// Reports kept, about a minute of ends at 150 calls a second.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(super) struct LateReports {
    queue: Mutex<VecDeque<(EndReport, Instant)>>,
    spool: OnceLock<Arc<Spool>>,
}

impl LateReports {
    /// Keeps a report with the time of the end it reports, on disk too. `false` if there is no room.
    pub(super) fn keep(&self, report: EndReport, at: Instant) -> bool {
        if let Some(spool) = self.spool.get().map(Arc::clone) {
            let report = report.clone();
            // Writing waits for the disk, which must not hold up calls.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = spool.append(&report, at) {
                    warn!(%error, "the end of a call is kept in memory only");
                }
            });
        }
        self.queue_up(report, at)
    }

    fn queue_up(&self, report: EndReport, at: Instant) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.len() < CAPACITY;
        if room {
            queue.push_back((report, at));
        } else {
            error!(call.uniqueid = %report.arrival.uniqueid,
                "too many ends wait for the database: this call's is left to the sweep");
        }
        room
    }

    /// Whether the end of a call with this unique id waits here.
    pub(super) fn is_about(&self, uniqueid: &UniqueId) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = queue.iter();
        waiting.any(|(report, _)| report.arrival.uniqueid == *uniqueid)
    }

    /// Nothing waits on disk where nothing waits in memory. A report that is kept this moment may be on disk after
    /// that and be settled again after a restart, which changes nothing.
    fn clear_spool(&self) {
        let Some(spool) = self.spool.get().map(Arc::clone) else {
            return;
        };
        if self.len() == 0 {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = spool.clear() {
                    warn!(%error, "ends that are settled stay on disk; settling them again does no harm");
                }
            });
        }
    }

    fn len(&self) -> usize {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn next(&self) -> Option<(EndReport, Instant)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }

    fn put_back(&self, report: EndReport, at: Instant) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_front((report, at));
    }
}

impl Engine {
    /// Keeps ends that wait for the database in this directory as well, and takes up those that a daemon left there.
    pub fn keep_ends_in(&self, directory: &Path) -> std::io::Result<()> {
        let (spool, waiting) = Spool::open(directory)?;
        if !waiting.is_empty() {
            info!(
                calls = waiting.len(),
                "ends of calls were left to be settled"
            );
        }
        for (report, at) in waiting {
            self.late.queue_up(report, at);
        }
        // Set once, at the start.
        let _ = self.late.spool.set(Arc::new(spool));
        Ok(())
    }

    /// Settles what waits, until it is done or the database fails again. A report that meets a lock goes to the end of
    /// the queue, so that it does not keep the others waiting.
    pub(super) async fn settle_late_reports(&self) -> Result<(), Error> {
        let mut settled = 0_u32;
        let mut waiting = self.late.len();
        while waiting > 0
            && let Some((report, at)) = self.late.next()
        {
            waiting -= 1;
            match self.settle_end(&report, at).await {
                Ok(()) => settled += 1,
                Err(Error::Store(error)) if error.is_lost_connection() => {
                    self.late.put_back(report, at);
                    return Err(error.into());
                }
                Err(error) if error.is_transient() => {
                    self.late.queue_up(report, at);
                }
                Err(error) => error!(call.uniqueid = %report.arrival.uniqueid, %error,
                    "the end of a call cannot be settled: it is left to the sweep"),
            }
        }
        if settled > 0 {
            self.late.clear_spool();
            info!(
                calls = settled,
                "settled the ends reported while the database was away"
            );
        }
        Ok(())
    }
}
