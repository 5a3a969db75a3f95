//! How many records a seller has, remembered for a while where there are many.
//!
//! Each page of a list says how many there are, and counting a million costs a hundred times what reading the page
//! does. Up to [`EXACT`] are counted each time. A larger total is counted anew, aside, when it is asked for and
//! older than [`FRESH`]; whoever asks is told the old one meanwhile, up to [`LAST`]. Invariant: a total is told to
//! those only who could count it themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::request::Reach;

/// So many are counted each time.
pub(crate) const EXACT: i64 = 2_000;

/// A larger total is counted anew when it is older.
const FRESH: Duration = Duration::from_secs(30);

/// And up to so much later, by chance: totals first asked for together do not all fall due together.
const SPREAD: Duration = Duration::from_secs(15);

/// And is not told any more when it is as old as this.
const LAST: Duration = Duration::from_secs(60);

/// Totals remembered; more are cleared away.
const CAPACITY: usize = 10_000;

/// Totals counted aside at a time. For more, whoever asks next tries again.
const RECOUNTS: usize = 1;

/// Who counts, the seller, and the time.
pub(crate) type Asked = (Reach, i32, Timestamp, Timestamp);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Totals {
    remembered: Arc<Mutex<HashMap<Asked, Total>>>,
    recounts: Arc<Semaphore>,
}

struct Total {
    count: i64,
    counted_at: Instant,
    fresh_for: Duration,
    being_recounted: bool,
}

/// The turn to count a total anew. Dropped, it is somebody else's.
pub(crate) struct Recount {
    totals: Totals,
    asked: Asked,
    _turn: OwnedSemaphorePermit,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            remembered: Arc::default(),
            recounts: Arc::new(Semaphore::new(RECOUNTS)),
        }
    }
}

impl Totals {
    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Total>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A total that may still be told, and the turn to count it anew if it is time for that.
    pub(crate) fn get(&self, asked: &Asked, now: Instant) -> Option<(i64, Option<Recount>)> {
        let mut remembered = self.lock();
        let total = remembered.get_mut(asked)?;
        let age = now.saturating_duration_since(total.counted_at);
        if age >= LAST {
            return None;
        }
        let mut recount = None;
        if age >= total.fresh_for
            && !total.being_recounted
            && let Ok(turn) = Arc::clone(&self.recounts).try_acquire_owned()
        {
            total.being_recounted = true;
            recount = Some(Recount {
                totals: self.clone(),
                asked: *asked,
                _turn: turn,
            });
        }
        Some((total.count, recount))
    }

    /// Remembers a total that was counted from `now` on. One that is counted each time is forgotten.
    pub(crate) fn note(&self, asked: Asked, count: i64, now: Instant) {
        let mut remembered = self.lock();
        if count <= EXACT {
            remembered.remove(&asked);
            return;
        }
        if remembered.len() >= CAPACITY && !remembered.contains_key(&asked) {
            remembered.clear();
        }
        let total = Total {
            count,
            counted_at: now,
            fresh_for: FRESH + SPREAD.mul_f64(fastrand::f64()),
            being_recounted: false,
        };
        remembered.insert(asked, total);
    }
}

impl Recount {
    /// Remembers what was counted from `now` on.
    pub(crate) fn note(&self, count: i64, now: Instant) {
        self.totals.note(self.asked, count, now);
    }
}

impl Drop for Recount {
    fn drop(&mut self) {
        if let Some(total) = self.totals.lock().get_mut(&self.asked) {
            total.being_recounted = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    const ALWAYS: (Timestamp, Timestamp) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);

    fn asked(seller: i32) -> Asked {
        (Reach::Everything, seller, ALWAYS.0, ALWAYS.1)
    }

    fn told(totals: &Totals, asked: &Asked, now: Instant) -> Option<i64> {
        totals.get(asked, now).map(|(count, _)| count)
    }

    #[test]
    fn a_total_is_of_one_seller_and_one_time_and_for_who_counted_it() {
        let (totals, now) = (Totals::default(), Instant::now());
        totals.note(asked(3), 5_000, now);
        assert_eq!(told(&totals, &asked(3), now), Some(5_000));
        assert_eq!(told(&totals, &asked(4), now), None);
        let another_time = (Reach::Everything, 3, ALWAYS.1, ALWAYS.1);
        assert_eq!(told(&totals, &another_time, now), None);
        for tenant in [3, 4] {
            let of_tenant = (Reach::Tenant(UserId(tenant)), 3, ALWAYS.0, ALWAYS.1);
            assert_eq!(told(&totals, &of_tenant, now), None);
        }
    }

    #[test]
    fn one_at_a_time_counts_an_old_total_anew_while_others_are_told_it() {
        let (totals, then) = (Totals::default(), Instant::now());
        totals.note(asked(3), 5_000, then);
        let (_, recount) = totals.get(&asked(3), then).expect("remembered");
        assert!(recount.is_none(), "it is fresh");
        let later = then + FRESH + SPREAD;
        let (count, recount) = totals.get(&asked(3), later).expect("remembered");
        let recount = recount.expect("it is old");
        assert_eq!(count, 5_000);
        let (count, another) = totals.get(&asked(3), later).expect("remembered");
        assert!(another.is_none(), "somebody counts already");
        assert_eq!(count, 5_000);
        recount.note(5_001, later);
        drop(recount);
        let (count, recount) = totals.get(&asked(3), later).expect("remembered");
        assert!(recount.is_none(), "it is fresh again");
        assert_eq!(count, 5_001);
    }

    #[test]
    fn a_recount_that_fails_is_tried_again_and_nobody_is_told_a_total_too_old() {
        let (totals, then) = (Totals::default(), Instant::now());
        totals.note(asked(3), 5_000, then);
        let later = then + FRESH + SPREAD;
        drop(totals.get(&asked(3), later));
        let (_, recount) = totals.get(&asked(3), later).expect("remembered");
        assert!(recount.is_some());
        assert_eq!(told(&totals, &asked(3), then + LAST), None);
    }

    #[test]
    fn few_are_counted_anew_at_a_time() {
        let (totals, then) = (Totals::default(), Instant::now());
        for seller in 0..5 {
            totals.note(asked(seller), 5_000, then);
        }
        let turns: Vec<_> = (0..5)
            .filter_map(|seller| totals.get(&asked(seller), then + FRESH + SPREAD)?.1)
            .collect();
        assert_eq!(turns.len(), RECOUNTS);
    }

    #[test]
    fn what_has_become_few_is_forgotten() {
        let (totals, now) = (Totals::default(), Instant::now());
        totals.note(asked(3), 5_000, now);
        totals.note(asked(3), EXACT, now);
        assert_eq!(told(&totals, &asked(3), now), None);
    }
}
