//! What happened, in order, to be waited for: tests wait for a state, not for time.

use std::sync::{Arc, Mutex};

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

/// Takes what the log writes.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock().expect("no writer panics");
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
