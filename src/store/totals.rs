//! How many records a seller has, remembered for a moment where there are many.
//!
//! Each page of a list says how many there are, and counting a million costs a hundred times what reading the page
//! does. Up to [`EXACT`] are counted each time; beyond that a total is as old as [`FRESH`] at most.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// So many are counted each time.
pub(super) const EXACT: i64 = 2_000;

/// How long a larger total is remembered.
const FRESH: Duration = Duration::from_secs(10);

/// Totals remembered; more are cleared away.
const CAPACITY: usize = 10_000;

/// A seller and a time.
pub(super) type Asked = (i32, Timestamp, Timestamp);

#[derive(Default)]
pub(super) struct Totals {
    remembered: Mutex<HashMap<Asked, (i64, Instant)>>,
}

impl Totals {
    /// A total that is fresh enough.
    pub(super) fn get(&self, asked: &Asked) -> Option<i64> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(asked)
            .filter(|(_, at)| at.elapsed() < FRESH)
            .map(|(total, _)| *total)
    }

    /// Remembers a total.
    pub(super) fn note(&self, asked: Asked, total: i64) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= CAPACITY {
            remembered.clear();
        }
        remembered.insert(asked, (total, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_of_one_seller_and_one_time() {
        let totals = Totals::default();
        let (from, before) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        totals.note((3, from, before), 5_000);
        assert_eq!(totals.get(&(3, from, before)), Some(5_000));
        assert_eq!(totals.get(&(4, from, before)), None);
        assert_eq!(totals.get(&(3, before, before)), None);
    }
}
