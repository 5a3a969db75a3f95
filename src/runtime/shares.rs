//! Counts who holds how much of something that is for all, so that nobody takes it whole.
//!
//! In memory, by each daemon for itself. It knows nothing of what is shared. Invariant: a holder is forgotten with its
//! last share, so that memory is bounded by what is held.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Who holds how many shares. Cheap to clone.
#[derive(Debug)]
pub struct Shares<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One share; given back when dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    of: Shares<K>,
    holder: K,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// One share more for a holder, if it has less than `most`.
    pub fn take(&self, holder: K, most: usize) -> Option<Share<K>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(holder.clone()).or_default();
        if *count >= most {
            if *count == 0 {
                held.remove(&holder);
            }
            return None;
        }
        *count += 1;
        drop(held);
        Some(Share {
            of: self.clone(),
            holder,
        })
    }

    /// How many a holder has.
    pub fn held(&self, holder: &K) -> usize {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(holder).copied().unwrap_or_default()
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_its_share_and_no_more() {
        let shares = Shares::default();
        let first = shares.take("a", 2).expect("the first");
        let _second = shares.take("a", 2).expect("the second");
        assert!(shares.take("a", 2).is_none());
        assert!(shares.take("b", 2).is_some(), "another has its own");
        drop(first);
        assert_eq!(shares.held(&"a"), 1);
        assert!(shares.take("a", 2).is_some());
    }

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let shares = Shares::default();
        drop(shares.take(1, 1));
        assert!(shares.take(2, 0).is_none());
        assert!(shares.0.lock().expect("not poisoned").is_empty());
    }
}
