//! Reports of ended calls that came while the database was away.
//!
//! The dialplan reports an end once and does not wait. What cannot be settled then is kept here, in order,
//! and settled when the database is back. Bounded: beyond that, and after a crash of ours, the observers
//! and the sweep end the calls with less detail.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::{error, info};

use crate::domain::UniqueId;

use super::{EndReport, Engine, Error};

/// Reports kept, about a minute of ends at 150 calls a second.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(super) struct LateReports {
    queue: Mutex<VecDeque<(EndReport, Instant)>>,
}

impl LateReports {
    /// Keeps a report with the time of the end it reports. `false` if there is no room.
    pub(super) fn keep(&self, report: EndReport, at: Instant) -> bool {
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
                    self.late.keep(report, at);
                }
                Err(error) => error!(call.uniqueid = %report.arrival.uniqueid, %error,
                    "the end of a call cannot be settled: it is left to the sweep"),
            }
        }
        if settled > 0 {
            info!(
                calls = settled,
                "settled the ends reported while the database was away"
            );
        }
        Ok(())
    }
}
