//! Compartments before the routing pool: what holds up one campaign takes few connections from the others.
//!
//! A locked row makes each decision about it wait for the lock, with a connection in its hand. Without compartments
//! the decisions of one campaign would soon hold all connections. So those that may touch the same rows take turns
//! here, outside: a share of the pool at once, the others in order of arrival, none longer than it can wait. Ends of
//! calls have compartments of their own. Invariant: a compartment is forgotten when nobody is in it or before it,
//! however they left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{CampaignId, DialledNumber};

/// Who may wait before a compartment for each seat in it. At 4 ms a decision this many take about a second: who
/// came later would wait in vain.
const WAITING_PER_SEAT: usize = 250;

/// Numbers whose campaign is remembered; more are forgotten together.
const CAPACITY: usize = 10_000;

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To decide where a call goes.
    Decide,
    /// To settle an attempt or a call.
    Settle,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// Too many wait already.
    #[error("too many calls of the same campaign wait for the database")]
    Full,
    /// None came free in time.
    #[error(
        "calls of the same campaign hold their share of the database connections, and none came free in time"
    )]
    TooLong,
}

/// The compartments. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Bulkhead {
    inner: Arc<Inner>,
}

struct Inner {
    seats: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    compartments: HashMap<(Purpose, Key), Compartment>,
    campaigns: HashMap<String, CampaignId>,
}

/// What is locked together. The campaign of a number is known only after its first decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Number(String),
    Campaign(CampaignId),
}

struct Compartment {
    seats: Arc<Semaphore>,
    /// Inside and before it.
    members: usize,
}

/// A place in a compartment; free again when dropped.
#[must_use]
pub struct Seat {
    // In this order: the seat is free before the compartment may be forgotten.
    _permit: OwnedSemaphorePermit,
    _member: Member,
}

struct Member {
    inner: Arc<Inner>,
    key: (Purpose, Key),
}

impl Bulkhead {
    /// For a pool of so many connections: a quarter of them for each compartment, at least one.
    pub fn new(connections: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                seats: (connections / 4).max(1),
                state: Mutex::default(),
            }),
        }
    }

    /// Waits for a seat, no longer than `patience`. Take it before the connection, and keep it until that is given
    /// back.
    pub async fn enter(
        &self,
        purpose: Purpose,
        number: &DialledNumber,
        patience: Duration,
    ) -> Result<Seat, Crowded> {
        let (seats, member) = self.join(purpose, number)?;
        match tokio::time::timeout(patience, seats.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Seat {
                _permit: permit,
                _member: member,
            }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Crowded::TooLong),
        }
    }

    /// Notes which campaign takes the calls of a number, so that all numbers of a campaign share a compartment.
    pub fn learn(&self, number: &DialledNumber, campaign: CampaignId) {
        let mut state = self.inner.lock();
        if state.campaigns.get(number.as_str()) == Some(&campaign) {
            return;
        }
        if state.campaigns.len() >= CAPACITY {
            state.campaigns.clear();
        }
        state.campaigns.insert(number.as_str().to_owned(), campaign);
    }

    fn join(
        &self,
        purpose: Purpose,
        number: &DialledNumber,
    ) -> Result<(Arc<Semaphore>, Member), Crowded> {
        let mut state = self.inner.lock();
        let key = match state.campaigns.get(number.as_str()) {
            Some(campaign) => Key::Campaign(*campaign),
            None => Key::Number(number.as_str().to_owned()),
        };
        let key = (purpose, key);
        let all = self.inner.seats;
        let compartment = state.compartments.entry(key.clone());
        let compartment = compartment.or_insert_with(|| Compartment {
            seats: Arc::new(Semaphore::new(all)),
            members: 0,
        });
        if compartment.members >= all * (1 + WAITING_PER_SEAT) {
            return Err(Crowded::Full);
        }
        compartment.members += 1;
        let seats = Arc::clone(&compartment.seats);
        drop(state);
        let inner = Arc::clone(&self.inner);
        Ok((seats, Member { inner, key }))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        if let Entry::Occupied(mut compartment) = state.compartments.entry(self.key.clone()) {
            compartment.get_mut().members -= 1;
            if compartment.get().members == 0 {
                compartment.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    fn number(text: &str) -> DialledNumber {
        DialledNumber::from_untrusted(text)
    }

    fn compartments(bulkhead: &Bulkhead) -> usize {
        bulkhead.inner.lock().compartments.len()
    }

    async fn decide(bulkhead: &Bulkhead, text: &str, patience: Duration) -> Result<Seat, Crowded> {
        bulkhead
            .enter(Purpose::Decide, &number(text), patience)
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_has_its_share_and_others_are_not_held_up() {
        let bulkhead = Bulkhead::new(8);
        let first = decide(&bulkhead, "1", SHORT).await.expect("a seat");
        let _second = decide(&bulkhead, "1", SHORT).await.expect("a seat");
        let third = decide(&bulkhead, "1", SHORT).await;
        assert_eq!(third.err(), Some(Crowded::TooLong));
        let other = decide(&bulkhead, "2", SHORT).await;
        assert!(other.is_ok(), "another number");
        let settling = bulkhead.enter(Purpose::Settle, &number("1"), SHORT).await;
        assert!(settling.is_ok(), "an end does not wait for decisions");
        drop(first);
        assert!(decide(&bulkhead, "1", SHORT).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_of_one_campaign_share_once_that_is_known() {
        let bulkhead = Bulkhead::new(4);
        let seat = decide(&bulkhead, "1", SHORT).await;
        assert!(decide(&bulkhead, "2", SHORT).await.is_ok());
        drop(seat);
        for text in ["1", "2"] {
            bulkhead.learn(&number(text), CampaignId(7));
        }
        let _seat = decide(&bulkhead, "1", SHORT).await.expect("a seat");
        let second = decide(&bulkhead, "2", SHORT).await;
        assert_eq!(second.err(), Some(Crowded::TooLong));
    }

    #[tokio::test]
    async fn those_who_wait_are_served_in_order() {
        let bulkhead = Bulkhead::new(1);
        let seat = decide(&bulkhead, "1", LONG).await.expect("a seat");
        let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
        for n in 0..5 {
            let (waiting, served) = (bulkhead.clone(), served.clone());
            tokio::spawn(async move {
                let _seat = decide(&waiting, "1", LONG).await.expect("a seat");
                served.send(n).expect("is read");
            });
            while bulkhead
                .inner
                .lock()
                .compartments
                .values()
                .next()
                .expect("one")
                .members
                < n + 2
            {
                tokio::task::yield_now().await;
            }
        }
        drop(seat);
        for n in 0..5 {
            assert_eq!(order.recv().await, Some(n));
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_those_who_gave_up() {
        let bulkhead = Bulkhead::new(1);
        let seat = decide(&bulkhead, "1", LONG).await.expect("a seat");
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { decide(&bulkhead, "1", LONG).await.map(|_| ()) }
        });
        let members = |bulkhead: &Bulkhead| {
            let state = bulkhead.inner.lock();
            state
                .compartments
                .values()
                .map(|c| c.members)
                .sum::<usize>()
        };
        while members(&bulkhead) < 2 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.expect_err("was cancelled").is_cancelled());
        assert_eq!(members(&bulkhead), 1);
        drop(seat);
        assert_eq!(compartments(&bulkhead), 0);
    }

    #[tokio::test]
    async fn a_queue_without_hope_is_not_joined() {
        let bulkhead = Bulkhead::new(1);
        let _members: Vec<_> = (0..=WAITING_PER_SEAT)
            .map(|_| bulkhead.join(Purpose::Decide, &number("1")).expect("room"))
            .collect();
        let late = decide(&bulkhead, "1", LONG).await;
        assert_eq!(late.err(), Some(Crowded::Full));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let bulkhead = Bulkhead::new(1);
        for n in 0..(2 * CAPACITY) {
            bulkhead.learn(&number(&n.to_string()), CampaignId(1));
        }
        assert!(bulkhead.inner.lock().campaigns.len() <= CAPACITY);
    }
}
