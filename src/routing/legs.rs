//! The target legs that Asterisk was seen to have: whose slot is not free yet though its call reports it.
//!
//! The caller's dialplan reports the end of an attempt while Asterisk still takes the target's channel
//! down, in another thread and some milliseconds longer. A slot given away in between would let one
//! channel more exist than the cap allows, so settling waits for the leg, for a moment. What is here is
//! in memory, comes from the observers alone and is forgotten when they lose sight of a server: then
//! nobody waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::{Arrival, Engine};
use crate::domain::{CallFact, ServerName, UniqueId};

/// How long settling waits for a leg to go. Asterisk takes a few milliseconds; a channel that stays has
/// been transferred or is stuck, and the caller's next attempt must not wait for it.
const PATIENCE: Duration = Duration::from_millis(400);

/// Time given to legs that were dialled before we watched, whose channels we cannot tell apart.
const GRACE: Duration = Duration::from_millis(150);

#[derive(Default)]
pub(super) struct TargetLegs {
    servers: Mutex<HashMap<ServerName, ServerLegs>>,
}

#[derive(Default)]
struct ServerLegs {
    /// The legs dialled for a caller, by the caller's channel. Never without a leg, unless unknown.
    of_caller: HashMap<UniqueId, Legs>,
    /// The caller of each leg.
    caller: HashMap<UniqueId, UniqueId>,
}

#[derive(Default)]
struct Legs {
    channels: Vec<UniqueId>,
    /// There is a leg, but its channel is not known.
    unknown: bool,
    gone: Arc<Notify>,
}

/// What there is to wait for.
enum Wait {
    Nothing,
    /// Until all legs known are gone.
    Gone(Arc<Notify>),
    /// For as long as a channel takes to go.
    Grace,
}

impl ServerLegs {
    fn dialled(&mut self, caller: &UniqueId, leg: &UniqueId) {
        let legs = self.of_caller.entry(caller.clone()).or_default();
        legs.unknown = false;
        if !legs.channels.contains(leg) {
            legs.channels.push(leg.clone());
            self.caller.insert(leg.clone(), caller.clone());
        }
    }

    fn gone(&mut self, channel: &UniqueId) {
        if let Some(caller) = self.caller.remove(channel)
            && let Some(legs) = self.of_caller.get_mut(&caller)
        {
            legs.channels.retain(|leg| leg != channel);
            if legs.channels.is_empty() {
                legs.gone.notify_waiters();
                self.of_caller.remove(&caller);
            }
        }
        // Nothing is known of a caller's unknown leg that its own end would not tell.
        if self.of_caller.get(channel).is_some_and(|legs| legs.unknown) {
            self.of_caller.remove(channel);
        }
    }
}

impl TargetLegs {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName, ServerLegs>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, server: &ServerName, caller: &UniqueId) -> Wait {
        match self
            .lock()
            .get(server)
            .and_then(|s| s.of_caller.get(caller))
        {
            None => Wait::Nothing,
            Some(legs) if legs.unknown => Wait::Grace,
            Some(legs) => Wait::Gone(Arc::clone(&legs.gone)),
        }
    }

    /// Waits until no leg dialled for this caller exists any more, at most for [`PATIENCE`].
    pub(super) async fn gone(&self, server: &ServerName, caller: &UniqueId) {
        let start = Instant::now();
        loop {
            let gone = match self.wait_for(server, caller) {
                Wait::Nothing => break,
                Wait::Grace => {
                    tokio::time::sleep(GRACE).await;
                    break;
                }
                Wait::Gone(gone) => gone,
            };
            let mut notified = std::pin::pin!(gone.notified());
            notified.as_mut().enable();
            // It may have gone before we began to listen.
            if matches!(self.wait_for(server, caller), Wait::Nothing) {
                break;
            }
            if timeout_at(start + PATIENCE, notified).await.is_err() {
                warn!(call.uniqueid = %caller, server = %server,
                    "the target's channel outlives its attempt: its slot is freed all the same");
                return;
            }
        }
        let waited = start.elapsed();
        if waited > Duration::from_micros(50) {
            debug!(call.uniqueid = %caller, waited_us = waited.as_micros(),
                "waited for the target's channel to go");
        }
    }

    /// The caller has a leg whose channel was not seen to be dialled, unless it was.
    pub(super) fn note_unknown(&self, server: &ServerName, caller: &UniqueId) {
        let mut servers = self.lock();
        let legs = servers.entry(server.clone()).or_default();
        legs.of_caller
            .entry(caller.clone())
            .or_insert_with(|| Legs {
                unknown: true,
                ..Legs::default()
            });
    }
}

impl Engine {
    /// Waits until no leg dialled for a call exists any more, or it is not worth waiting.
    pub(super) async fn target_gone(&self, arrival: &Arrival) {
        if let Some(server) = self.server_of(arrival) {
            self.legs.gone(server, &arrival.uniqueid).await;
        }
    }

    /// Takes note of what an observer sees, the moment it sees it: for what must not wait until the
    /// database has been told. Never blocks.
    pub fn sight(&self, server: &ServerName, fact: &CallFact) {
        let mut servers = self.legs.lock();
        match fact {
            CallFact::Dialled { caller, leg } => {
                servers
                    .entry(server.clone())
                    .or_default()
                    .dialled(caller, leg);
            }
            CallFact::Gone { channel, .. } => {
                if let Some(legs) = servers.get_mut(server) {
                    legs.gone(channel);
                }
            }
            CallFact::Answered { .. } | CallFact::AttemptFailed { .. } => {}
        }
    }

    /// The observer of a server sees nothing any more: nobody shall wait for what it will not tell.
    pub fn lose_sight(&self, server: &ServerName) {
        if let Some(lost) = self.legs.lock().remove(server) {
            for legs in lost.of_caller.values() {
                legs.gone.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UniqueId {
        UniqueId::parse(text).expect("a unique id")
    }

    fn server() -> ServerName {
        ServerName::parse("pbx1").expect("a name")
    }

    impl TargetLegs {
        fn with(&self, act: impl FnOnce(&mut ServerLegs)) {
            act(self.lock().entry(server()).or_default());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn settling_waits_for_the_last_leg_of_its_own_caller() {
        let legs = Arc::new(TargetLegs::default());
        legs.with(|s| {
            s.dialled(&id("1.0"), &id("1.1"));
            s.dialled(&id("1.0"), &id("1.2"));
            s.dialled(&id("2.0"), &id("2.1"));
        });
        let waiting = tokio::spawn({
            let legs = Arc::clone(&legs);
            async move {
                let start = Instant::now();
                legs.gone(&server(), &id("1.0")).await;
                start.elapsed()
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        legs.with(|s| s.gone(&id("1.1")));
        legs.with(|s| s.gone(&id("2.1")));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        legs.with(|s| s.gone(&id("1.2")));
        assert_eq!(waiting.await.expect("no panic"), Duration::from_millis(20));
        legs.with(|s| assert!(s.of_caller.is_empty() && s.caller.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_is_not_there_or_stays() {
        let legs = TargetLegs::default();
        let took = async |caller: &str| {
            let start = Instant::now();
            legs.gone(&server(), &id(caller)).await;
            start.elapsed()
        };
        assert_eq!(took("1.0").await, Duration::ZERO);
        legs.with(|s| s.dialled(&id("1.0"), &id("1.1")));
        assert_eq!(took("1.0").await, PATIENCE);
        legs.note_unknown(&server(), &id("1.0"));
        assert_eq!(took("1.0").await, PATIENCE, "known is better than unknown");
        legs.note_unknown(&server(), &id("3.0"));
        assert_eq!(took("3.0").await, GRACE);
        legs.with(|s| s.gone(&id("3.0")));
        assert_eq!(took("3.0").await, Duration::ZERO);
    }
}
