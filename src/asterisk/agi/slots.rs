//! Who may hold a session. When all slots are taken, the oldest session that has not even sent its
//! environment gives way to the newest: a flood of silent peers costs good calls nothing. Sessions at
//! work are never put out; when all are at work the newcomer is turned away at once, and its dialplan
//! asks the second daemon while the caller still waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::Gauge;

/// All slots. `T` is what putting a session out needs.
#[derive(Clone)]
pub struct Slots<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    most: usize,
    gauge: Gauge,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Sessions that hold a slot; those put out do not count.
    taken: usize,
    next: u64,
    /// Sessions still without an environment, oldest first.
    waiting: BTreeMap<u64, T>,
}

/// What became of a newcomer.
pub enum Admission<T> {
    /// It has a slot.
    Admitted(Slot<T>),
    /// It has the slot of this one, which must be closed.
    InPlaceOf(T, Slot<T>),
    /// There is none for it.
    Full,
}

/// One session's slot, free again when dropped.
pub struct Slot<T> {
    inner: Arc<Inner<T>>,
    number: u64,
    at_work: bool,
}

impl<T> Slots<T> {
    /// `most` slots, all free.
    pub fn new(most: usize, gauge: Gauge) -> Self {
        let state = Mutex::new(State {
            taken: 0,
            next: 0,
            waiting: BTreeMap::new(),
        });
        Self {
            inner: Arc::new(Inner { most, gauge, state }),
        }
    }

    /// A slot for a new session. `handle` is given back should it have to make room.
    pub fn admit(&self, handle: T) -> Admission<T> {
        let mut state = self.inner.lock();
        let displaced = if state.taken < self.inner.most {
            None
        } else {
            match state.waiting.pop_first() {
                Some((_, oldest)) => Some(oldest),
                None => return Admission::Full,
            }
        };
        if displaced.is_none() {
            state.taken += 1;
            self.inner.gauge.increment(1.0);
        }
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, handle);
        drop(state);
        let slot = Slot {
            inner: Arc::clone(&self.inner),
            number,
            at_work: false,
        };
        match displaced {
            Some(oldest) => Admission::InPlaceOf(oldest, slot),
            None => Admission::Admitted(slot),
        }
    }

    /// Puts out the oldest session without an environment, to free what it holds.
    pub fn displace(&self) -> Option<T> {
        let mut state = self.inner.lock();
        let (_, oldest) = state.waiting.pop_first()?;
        self.inner.release(&mut state);
        Some(oldest)
    }
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, state: &mut State<T>) {
        state.taken -= 1;
        self.gauge.decrement(1.0);
    }
}

impl<T> Slot<T> {
    /// The environment is complete. `false`: too late, the session was put out.
    pub fn begin_work(&mut self) -> bool {
        if !self.at_work {
            self.at_work = self.inner.lock().waiting.remove(&self.number).is_some();
        }
        self.at_work
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        let handle = state.waiting.remove(&self.number);
        if self.at_work || handle.is_some() {
            self.inner.release(&mut state);
        }
        drop(state);
        drop(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(most: usize) -> Slots<u32> {
        Slots::new(most, Gauge::noop())
    }

    fn taken(slots: &Slots<u32>) -> usize {
        slots.inner.lock().taken
    }

    #[test]
    fn the_oldest_silent_session_makes_room() {
        let slots = slots(2);
        let Admission::Admitted(mut first) = slots.admit(1) else {
            panic!("free");
        };
        let Admission::Admitted(mut second) = slots.admit(2) else {
            panic!("free");
        };
        let Admission::InPlaceOf(1, mut third) = slots.admit(3) else {
            panic!("the first is the oldest");
        };
        assert!(!first.begin_work());
        assert!(second.begin_work());
        assert!(third.begin_work());
        assert!(matches!(slots.admit(4), Admission::Full));
        drop(first);
        assert_eq!(taken(&slots), 2, "the first had no slot any more");
        drop(second);
        assert_eq!(taken(&slots), 1);
        assert!(matches!(slots.admit(5), Admission::Admitted(_)));
        drop(third);
        assert_eq!(taken(&slots), 0);
    }

    #[test]
    fn a_displaced_session_gives_its_slot_back_once() {
        let slots = slots(2);
        let Admission::Admitted(slot) = slots.admit(1) else {
            panic!("free");
        };
        assert_eq!(slots.displace(), Some(1));
        assert_eq!(slots.displace(), None);
        drop(slot);
        assert_eq!(taken(&slots), 0);
    }
}
