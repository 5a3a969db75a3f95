//! Fair shares: no account takes the API from the others.
//!
//! Of each account few requests are at work and few wait; the rest is refused at once, so that nothing piles up. What
//! may take long has a gate of its own with few places in all, which go round by account: who asks for the first time
//! never waits behind another's queue. There an account also has a [`Budget`] of time: who asks without pause is served
//! with pauses, so that the cores are left to calls. Invariant: a place is free again for others when its [`Pass`] is
//! dropped, whatever became of the request, and for its own account at the latest `LONGEST_PAUSE` after that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::code::Code;
use super::problem::Problem;
use crate::runtime::metrics;

/// What a gate lets through.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// Requests at work, of all accounts together.
    pub places: usize,
    /// Of these: of one account.
    pub of_one: usize,
    /// Requests of one account that wait.
    pub waiting: usize,
    /// How long one waits at most.
    pub wait: Duration,
    /// The time at work that one account has; none: as much as it asks for.
    pub budget: Option<Budget>,
}

/// How long requests of one account may be at work, all together.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// So much at once.
    pub burst: Duration,
    /// Seconds that come back each second.
    pub rate: f64,
}

/// The longest that a place is kept from its own account because the account has used up its budget.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// With so many accounts known, those whose budget is whole again are forgotten.
const MANY: usize = 1_000;

/// What an account has used of its budget.
#[derive(Debug, Clone, Copy)]
struct Used {
    seconds: f64,
    at: Instant,
}

impl Budget {
    /// What is still counted as used at a later time.
    fn left_over(self, used: Used, now: Instant) -> f64 {
        let back = now.saturating_duration_since(used.at).as_secs_f64() * self.rate;
        (used.seconds - back).max(0.0)
    }

    /// How long an account that used so much pauses.
    fn pause(self, seconds: f64) -> Duration {
        let beyond = (seconds - self.burst.as_secs_f64()).max(0.0);
        Duration::from_secs_f64(beyond / self.rate).min(LONGEST_PAUSE)
    }
}

/// A gate. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    width: Width,
    /// Names it in metrics.
    name: &'static str,
    state: Arc<Mutex<State>>,
}

/// Who shares a gate with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// An account.
    Account(i32),
    /// All who read by links to recordings, whoever made these: nobody knows who they are.
    LinkReaders,
}

#[derive(Default)]
struct State {
    at_work: usize,
    of: HashMap<Party, usize>,
    used: HashMap<Party, Used>,
    queues: HashMap<Party, VecDeque<oneshot::Sender<Pass>>>,
    /// Those with a queue, the next one first.
    turns: VecDeque<Party>,
}

/// A place; free again when dropped.
pub struct Pass {
    gate: Gate,
    party: Party,
    since: Instant,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Of this party enough is at work and waiting.
    TooMany(Party),
    /// It waited its time, because of others.
    Overloaded,
}

impl Gate {
    /// All places are free.
    pub fn new(name: &'static str, width: Width) -> Self {
        Self {
            width,
            name,
            state: Arc::default(),
        }
    }

    /// A place for a request.
    pub async fn enter(&self, party: Party) -> Result<Pass, Refused> {
        let turn = {
            let mut state = self.lock();
            let own = state.of.get(&party).copied().unwrap_or_default();
            let queued = state.queues.get(&party).map_or(0, VecDeque::len);
            if queued == 0 && own < self.width.of_one && state.at_work < self.width.places {
                return Ok(self.admit(&mut state, party));
            }
            if queued >= self.width.waiting {
                metrics::http_refused(self.name);
                return Err(Refused::TooMany(party));
            }
            let (sender, turn) = oneshot::channel();
            let queue = state.queues.entry(party).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                state.turns.push_back(party);
            }
            turn
        };
        // Given up: what waits in the queue is found gone when its turn comes.
        let waiting = Waiting { gate: self, party };
        let passed = timeout(self.width.wait, turn).await;
        drop(waiting);
        if let Ok(Ok(pass)) = passed {
            return Ok(pass);
        }
        metrics::http_refused(self.name);
        // Its own requests, or its own pause, kept it waiting.
        let own = self.lock().of.get(&party).copied().unwrap_or_default();
        Err(if own >= self.width.of_one {
            Refused::TooMany(party)
        } else {
            Refused::Overloaded
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock.
    fn admit(&self, state: &mut State, party: Party) -> Pass {
        state.at_work += 1;
        *state.of.entry(party).or_default() += 1;
        Pass {
            gate: self.clone(),
            party,
            since: Instant::now(),
        }
    }

    /// How long an account pauses after it was at work for so long. Under the lock.
    fn pause(&self, state: &mut State, party: Party, at_work: Duration) -> Duration {
        let Some(budget) = self.width.budget else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        if state.used.len() >= MANY {
            state
                .used
                .retain(|_, used| budget.left_over(*used, now) > 0.0);
        }
        let used = state.used.get(&party);
        let before = used.map_or(0.0, |used| budget.left_over(*used, now));
        let seconds = before + at_work.as_secs_f64();
        state.used.insert(party, Used { seconds, at: now });
        budget.pause(seconds)
    }

    /// Gives a place back to its account.
    fn give_back(&self, party: Party) {
        {
            let mut state = self.lock();
            if let Some(own) = state.of.get_mut(&party) {
                *own -= 1;
                if *own == 0 {
                    state.of.remove(&party);
                }
            }
        }
        self.let_in();
    }

    /// Lets in who may, one of each account after the other.
    fn let_in(&self) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        let mut looked_at = 0;
        while state.at_work < self.width.places && looked_at < state.turns.len() {
            let Some(party) = state.turns.pop_front() else {
                break;
            };
            let own = state.of.get(&party).copied().unwrap_or_default();
            let mut next = None;
            if own < self.width.of_one
                && let Some(queue) = state.queues.get_mut(&party)
            {
                next = queue.pop_front();
            }
            looked_at += 1;
            if let Some(sender) = next {
                looked_at = 0;
                let pass = self.admit(&mut state, party);
                // Dropped without the lock, for its place must be given back.
                gone.extend(sender.send(pass).err());
            }
            if state.queues.get(&party).is_some_and(|q| !q.is_empty()) {
                state.turns.push_back(party);
            } else {
                state.queues.remove(&party);
            }
        }
        drop(state);
        drop(gone);
    }
}

/// Somebody in a queue.
struct Waiting<'a> {
    gate: &'a Gate,
    party: Party,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        let Some(queue) = state.queues.get_mut(&self.party) else {
            return;
        };
        queue.retain(|sender| !sender.is_closed());
        if queue.is_empty() {
            state.queues.remove(&self.party);
            state.turns.retain(|party| *party != self.party);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let pause = {
            let mut state = self.gate.lock();
            state.at_work -= 1;
            self.gate
                .pause(&mut state, self.party, self.since.elapsed())
        };
        match Handle::try_current() {
            Ok(runtime) if !pause.is_zero() => {
                // Others need not wait for it.
                self.gate.let_in();
                let (gate, party) = (self.gate.clone(), self.party);
                runtime.spawn(async move {
                    sleep(pause).await;
                    gate.give_back(party);
                });
            }
            _ => self.gate.give_back(self.party),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany(party) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::TooManyAtOnce,
                match party {
                    Party::Account(_) => {
                        "Too many requests of this account are at work at the same time. Wait for their answers before \
                         you send more."
                    }
                    Party::LinkReaders => {
                        "Too many people use links to recordings at the same time. Try again in a moment."
                    }
                },
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            Refused::Overloaded => Self::overloaded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn gate(places: usize, of_one: usize, waiting: usize) -> Gate {
        Gate::new(
            "test",
            Width {
                places,
                of_one,
                waiting,
                wait: Duration::from_secs(60),
                budget: None,
            },
        )
    }

    /// A place for each of two accounts, of whom each may be at work half of the time once it has been for two seconds.
    fn paced() -> Gate {
        Gate::new(
            "test",
            Width {
                places: 2,
                of_one: 1,
                waiting: 1,
                wait: Duration::from_secs(60),
                budget: Some(Budget {
                    burst: Duration::from_secs(2),
                    rate: 0.5,
                }),
            },
        )
    }

    /// How long until an account has a place, which it then keeps for a second.
    async fn second_at_work(gate: &Gate, account: i32) -> Duration {
        let asked = Instant::now();
        let pass = gate.enter(Party::Account(account)).await.expect("a place");
        let waited = asked.elapsed();
        sleep(Duration::from_secs(1)).await;
        drop(pass);
        waited
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_without_pause_is_served_with_pauses_and_nobody_else() {
        let gate = paced();
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(second_at_work(&gate, 1).await.as_secs());
        }
        assert_eq!(waits[..3], [0, 0, 0], "a burst is served at once");
        let later: u64 = waits[6..].iter().sum();
        assert!((5..=7).contains(&later), "half of the time: {waits:?}");
        assert_eq!(second_at_work(&gate, 2).await, Duration::ZERO);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(second_at_work(&gate, 1).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_has_an_end_and_leaves_the_place_to_others() {
        let gate = paced();
        let pass = gate.enter(Party::Account(1)).await.expect("a place");
        sleep(Duration::from_secs(3_600)).await;
        drop(pass);
        assert_eq!(gate.lock().at_work, 0);
        assert_eq!(second_at_work(&gate, 1).await, LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn of_one_account_few_are_at_work_and_few_wait() {
        let gate = gate(4, 2, 1);
        let first = gate.enter(Party::Account(1)).await.expect("a place");
        let _second = gate.enter(Party::Account(1)).await.expect("a place");
        let mut third = Box::pin(gate.enter(Party::Account(1)));
        assert!((&mut third).now_or_never().is_none(), "it waits");
        assert_eq!(
            gate.enter(Party::Account(1)).await.err(),
            Some(Refused::TooMany(Party::Account(1)))
        );
        let _other = gate
            .enter(Party::Account(2))
            .await
            .expect("another is not kept waiting");
        drop(first);
        let _third = third.await.expect("its turn");
    }

    #[tokio::test]
    async fn places_go_round_by_account() {
        let gate = gate(1, 1, 8);
        let held = gate.enter(Party::Account(9)).await.expect("a place");
        let mut waiting: VecDeque<_> = [1, 1, 1, 2, 3]
            .into_iter()
            .map(|account| (account, Box::pin(gate.enter(Party::Account(account)))))
            .collect();
        for (_, turn) in &mut waiting {
            assert!(turn.now_or_never().is_none());
        }
        drop(held);
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let found = waiting.iter_mut().position(|(account, turn)| {
                let passed = turn.now_or_never();
                if passed.is_some() {
                    order.push(*account);
                }
                // The pass is dropped here, and the next let in.
                passed.is_some()
            });
            drop(waiting.remove(found.expect("somebody's turn")));
        }
        assert_eq!(order, [1, 2, 3, 1, 1]);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_place_taken() {
        let gate = gate(1, 1, 2);
        let held = gate.enter(Party::Account(1)).await.expect("a place");
        let mut given_up = Box::pin(gate.enter(Party::Account(2)));
        assert!((&mut given_up).now_or_never().is_none());
        let mut waits = Box::pin(gate.enter(Party::Account(3)));
        assert!((&mut waits).now_or_never().is_none());
        drop(given_up);
        let mut late = Box::pin(gate.enter(Party::Account(2)));
        assert!((&mut late).now_or_never().is_none());
        drop(held);
        // Its turn came, and nobody asks for it any more.
        drop(waits);
        let last = late.await.expect("its turn");
        drop(last);
        let state = gate.lock();
        assert_eq!(state.at_work, 0);
        assert!(state.of.is_empty() && state.queues.is_empty() && state.turns.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told() {
        let gate = gate(1, 1, 2);
        let _held = gate.enter(Party::Account(1)).await.expect("a place");
        assert_eq!(
            gate.enter(Party::Account(2)).await.err(),
            Some(Refused::Overloaded)
        );
        assert!(gate.lock().queues.is_empty());
    }
}
