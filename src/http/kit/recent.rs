//! Remembers something for a short while, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys with what is remembered of each, and until when. Full, it forgets what is over; still full, everything.
pub struct Recent<K, V> {
    most: usize,
    kept: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Remembers nothing yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// What is remembered of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, value) = kept.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(key);
    }

    /// Remembers for so long.
    pub fn put(&self, key: K, value: V, keep: Duration) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.most && !kept.contains_key(&key) {
            kept.retain(|_, (until, _)| now < *until);
            if kept.len() >= self.most {
                kept.clear();
            }
        }
        kept.insert(key, (now + keep, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_over_is_not_known_any_more() {
        let recent = Recent::new(10);
        recent.put(1, "a", LONG);
        recent.put(2, "b", Duration::ZERO);
        assert_eq!(recent.get(&1), Some("a"));
        assert_eq!(recent.get(&2), None);
        recent.remove(&1);
        assert_eq!(recent.get(&1), None);
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let recent = Recent::new(10);
        for n in 0..1_000 {
            recent.put(n, (), LONG);
            assert!(recent.kept.lock().expect("not poisoned").len() <= 10);
        }
        assert_eq!(recent.get(&999), Some(()));
    }
}
