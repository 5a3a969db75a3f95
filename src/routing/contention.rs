//! Numbers that many call at once.
//!
//! Where decisions of one campaign meet, guessing that nobody else decides costs a second look each time;
//! queueing at once is cheaper. A hint only: it is right to be wrong, and it is forgotten in a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::DialledNumber;

/// How long a number counts as crowded after decisions met.
const REMEMBER: Duration = Duration::from_secs(1);

/// Numbers remembered; more are cleared away.
const CAPACITY: usize = 1_000;

#[derive(Default)]
pub(super) struct Contention {
    met: Mutex<HashMap<String, Instant>>,
}

impl Contention {
    /// Decisions for this number met just now.
    pub(super) fn note(&self, number: &DialledNumber) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= CAPACITY {
            met.clear();
        }
        met.insert(number.as_str().to_owned(), Instant::now());
    }

    /// Whether decisions for this number met lately.
    pub(super) fn contains(&self, number: &DialledNumber) -> bool {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.get(number.as_str())
            .is_some_and(|at| at.elapsed() < REMEMBER)
    }
}
