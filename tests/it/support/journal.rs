//! What happened, in order, to be waited for: tests wait for a state, not for time.

use std::sync::Arc;

use tokio::sync::watch;

pub use super::PATIENCE;

/// A shared list of entries.
#[derive(Clone)]
pub struct Journal {
    entries: Arc<watch::Sender<Vec<String>>>,
}

impl Journal {
    pub fn new() -> Self {
        Self {
            entries: Arc::new(watch::Sender::new(Vec::new())),
        }
    }

    pub fn note(&self, entry: impl Into<String>) {
        self.entries
            .send_modify(|entries| entries.push(entry.into()));
    }

    pub fn entries(&self) -> Vec<String> {
        self.entries.borrow().clone()
    }

    pub fn count(&self, entry: &str) -> usize {
        count(&self.entries.borrow(), entry)
    }

    /// Waits until `entry` has been noted `times` times.
    pub async fn wait_for(&self, entry: &str, times: usize) {
        let mut entries = self.entries.subscribe();
        let seen = entries.wait_for(|entries| count(entries, entry) >= times);
        let in_time = tokio::time::timeout(PATIENCE, seen).await.is_ok();
        assert!(
            in_time,
            "{entry:?} was not seen {times} times in {:?}",
            self.entries()
        );
    }
}

fn count(entries: &[String], entry: &str) -> usize {
    entries.iter().filter(|seen| *seen == entry).count()
}
