//! Reports of ended calls that came while the database was away.
//!
//! The dialplan reports an end once and does not wait. What cannot be settled then is kept here, in order,
//! and settled when the database is back. Where the daemon has a directory of its own, it is on disk as well, for after a
//! restart. Bounded: beyond that the observers and the sweep end the calls with less detail.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::spool::Spool;
use super::{EndReport, Engine, Error};
use crate::domain::{CallerId, UniqueId};

/// Reports kept, about a minute of ends at 150 calls a second.
const CAPACITY: usize = 10_000;

/// A report that waited longer has forgotten who called: an erasure looks for what arrives late no longer than two days
/// (`sql/migrations/0020_erasure.sql`), of which a call may have lasted one.
const CALLER_KNOWN: Duration = Duration::from_secs(24 * 3600);

#[derive(Default)]
pub(super) struct LateReports {
    queue: Mutex<VecDeque<(EndReport, Instant)>>,
    spool: OnceLock<Arc<Spool>>,
    /// Calls whose end is being settled, with the time when it was heard of.
    settling: Mutex<HashMap<UniqueId, Instant>>,
    /// Held by the task that settles what waits.
    turn: tokio::sync::Mutex<()>,
}

/// An end that is being settled; it is over when this is dropped.
pub(super) struct Settled<'a> {
    reports: &'a LateReports,
    uniqueid: UniqueId,
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.reports.settling().remove(&self.uniqueid);
    }
}

impl LateReports {
    /// An end was heard of, and is settled, or kept, while what this returns lives.
    pub(super) fn settle(&self, uniqueid: &UniqueId, heard: Instant) -> Settled<'_> {
        self.settling().insert(uniqueid.clone(), heard);
        Settled {
            reports: self,
            uniqueid: uniqueid.clone(),
        }
    }

    /// Whether an end of this call is known here, and not in the database yet, that came after a moment.
    pub(super) fn has_ended_since(&self, uniqueid: &UniqueId, moment: Instant) -> bool {
        let now = self.settling().get(uniqueid).copied();
        now.is_some_and(|heard| heard >= moment)
            || (self.lock().iter())
                .any(|(report, at)| report.arrival.uniqueid == *uniqueid && *at >= moment)
    }

    fn settling(&self) -> MutexGuard<'_, HashMap<UniqueId, Instant>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a report with the time of the end it reports, on disk too. `false` if there is no room.
    pub(super) fn keep(&self, report: EndReport, at: Instant) -> bool {
        let kept = self.queue_up(report.clone(), at);
        if let Some(spool) = self.spool.get().map(Arc::clone) {
            // Writing waits for the disk, which must not hold up calls.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = spool.append(&report, at) {
                    warn!(%error, "the end of a call is kept in memory only");
                }
            });
        }
        kept
    }

    fn queue_up(&self, report: EndReport, at: Instant) -> bool {
        let mut queue = self.lock();
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
        let queue = self.lock();
        let mut waiting = queue.iter();
        waiting.any(|(report, _)| report.arrival.uniqueid == *uniqueid)
    }

    /// Nothing waits on disk where nothing waits in memory. A report that is kept this moment is written before or after
    /// the look, never between; one that is settled and written after it is settled again after a restart, which
    /// changes nothing.
    fn clear_spool(self: &Arc<Self>) {
        let Some(spool) = self.spool.get().map(Arc::clone) else {
            return;
        };
        let late = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = spool.clear_if(|| late.len() == 0) {
                warn!(%error, "ends that are settled stay on disk; settling them again does no harm");
            }
        });
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(EndReport, Instant)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> Option<(EndReport, Instant)> {
        self.lock().front().cloned()
    }

    fn drop_first(&self) {
        self.lock().pop_front();
    }

    fn first_to_end(&self) {
        self.lock().rotate_left(1);
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
    /// the queue, so that it does not keep the others waiting. A report stays in the queue until it is settled: whoever
    /// gives up waiting for this loses none.
    pub async fn settle_late_reports(&self) -> Result<(), Error> {
        let Ok(_turn) = self.late.turn.try_lock() else {
            // Another task is at it.
            return Ok(());
        };
        let mut settled = 0_u32;
        for _ in 0..self.late.len() {
            let Some((mut report, at)) = self.late.first() else {
                break;
            };
            if at.elapsed() > CALLER_KNOWN {
                report.arrival.caller = CallerId::default();
            }
            match self.settle_end(&report, at).await {
                Ok(()) => {
                    settled += 1;
                    self.late.drop_first();
                }
                Err(Error::Store(error)) if error.is_lost_connection() => return Err(error.into()),
                Err(error) if error.is_transient() => self.late.first_to_end(),
                Err(error) => {
                    error!(call.uniqueid = %report.arrival.uniqueid, %error,
                        "the end of a call cannot be settled: it is left to the sweep");
                    self.late.drop_first();
                }
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
