//! What the observers see of the Asterisk servers right now: which channels there are, and whose targets they are.
//!
//! Two questions are answered from here. On which server is a call? On the one that has its channel; names and
//! addresses say nothing. And is the target's channel gone? The caller's dialplan reports the end of an attempt while
//! Asterisk still takes the target's channel down, in another thread and some milliseconds longer, on a busy machine
//! much longer. A slot given away in between would let one channel more exist than the cap allows.
//!
//! What is here is in memory, comes from the observers alone and is forgotten when they lose sight of a server.
//! Invariant: each comparison replaces what is known by what Asterisk lists, and by what was heard since, so nothing
//! stays that is not there any more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::{Arrival, Engine};
use crate::domain::fact::dialled_endpoints;
use crate::domain::{
    CallFact, CallId, HungUpBy, LiveView, SeenChannel, SeenHangup, ServerIdentity, ServerName,
    UniqueId,
};

/// How long settling waits for a target's channel to go, before the slot is left open until it goes. Asterisk takes a few
/// milliseconds as a rule; the caller's next attempt must not wait long.
const PATIENCE: Duration = Duration::from_millis(150);

/// A target's channel that went this long ago, while its call goes on without a report, has left the call.
const DEPARTED: Duration = Duration::from_millis(500);

/// How long it is remembered who asked for the end of a call whose channel is gone: its report comes in seconds.
const HANGUP_KEPT: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Sightings {
    servers: Mutex<HashMap<ServerName, ServerSight>>,
    /// When each server had started, as it said last; kept while it is out of sight.
    starts: Mutex<HashMap<ServerName, Timestamp>>,
}

#[derive(Default)]
struct ServerSight {
    /// What it said of itself when calls were compared last.
    identity: ServerIdentity,
    /// Another machine uses its name.
    contested: bool,
    /// Every channel there is.
    channels: HashMap<UniqueId, Channel>,
    /// The channels dialled for a caller that exist, by the caller's channel. Never empty.
    legs: HashMap<UniqueId, Legs>,
    /// The caller of each of these.
    caller: HashMap<UniqueId, UniqueId>,
    /// Callers that dial, but whose target's channel is not known: they dialled before we watched.
    unknown: HashSet<UniqueId>,
    /// Callers whose last target's channel has gone while they live, and when.
    departed: HashMap<UniqueId, Instant>,
    /// Slots that wait for a target's channel.
    waiting: HashMap<UniqueId, (CallId, u32)>,
    /// Heard since the list of channels that is under way was asked for.
    made_since: HashSet<UniqueId>,
    gone_since: HashSet<UniqueId>,
    /// Which side of a caller's call asked for its end first, and when that was heard. It outlives the channels for the
    /// report that comes after them.
    hangups: HashMap<UniqueId, (HungUpBy, Instant)>,
}

#[derive(Clone)]
struct Channel {
    name: String,
    created_at: Option<Timestamp>,
}

#[derive(Default)]
struct Legs {
    channels: Vec<UniqueId>,
    gone: Arc<Notify>,
}

/// Where a channel was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) server: ServerName,
    pub(super) channel: SeenChannel,
}

/// What is left of a caller's targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remaining {
    /// No observer of ours sees the caller.
    Unseen,
    /// They are gone.
    Nothing,
    /// One may be there, on this server, but which channel it is, is not known.
    Unknown(ServerName),
    /// This one is still there, on this server.
    Leg(ServerName, UniqueId),
}

impl Remaining {
    /// As a log shows it.
    fn word(&self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Nothing => "nothing",
            Self::Unknown(_) => "unknown",
            Self::Leg(..) => "leg",
        }
    }
}

impl ServerSight {
    fn made(&mut self, channel: &SeenChannel) {
        self.made_since.insert(channel.uniqueid.clone());
        self.channels.insert(
            channel.uniqueid.clone(),
            Channel {
                name: channel.name.clone(),
                created_at: channel.created_at,
            },
        );
    }

    fn dialled(&mut self, caller: &UniqueId, leg: &UniqueId) {
        self.unknown.remove(caller);
        self.departed.remove(caller);
        self.goes_on(caller);
        let legs = self.legs.entry(caller.clone()).or_default();
        if !legs.channels.contains(leg) {
            legs.channels.push(leg.clone());
            self.caller.insert(leg.clone(), caller.clone());
        }
    }

    /// The call has another target, or one that has answered: that an earlier one declined did not end it.
    fn goes_on(&mut self, caller: &UniqueId) {
        if matches!(self.hangups.get(caller), Some((by, _)) if *by != HungUpBy::Caller) {
            self.hangups.remove(caller);
        }
    }

    fn hangup_requested(&mut self, channel: &UniqueId, soft: bool) {
        let (caller, side) = match self.caller.get(channel) {
            Some(caller) => (caller.clone(), HungUpBy::Target),
            None => (channel.clone(), HungUpBy::Caller),
        };
        let by = if soft { HungUpBy::System } else { side };
        self.hangups.entry(caller).or_insert((by, Instant::now()));
    }

    fn gone(&mut self, channel: &UniqueId) {
        self.gone_since.insert(channel.clone());
        self.made_since.remove(channel);
        self.channels.remove(channel);
        self.leg_gone(channel);
        // What is said of a caller ends with the caller; targets that outlive it keep their slots by themselves. That one of
        // them is not known is kept until the next list.
        self.departed.remove(channel);
    }

    fn leg_gone(&mut self, leg: &UniqueId) {
        let Some(caller) = self.caller.remove(leg) else {
            return;
        };
        let Some(legs) = self.legs.get_mut(&caller) else {
            return;
        };
        legs.channels.retain(|other| other != leg);
        if legs.channels.is_empty() {
            legs.gone.notify_waiters();
            self.legs.remove(&caller);
            if self.channels.contains_key(&caller) {
                self.departed.insert(caller, Instant::now());
            }
        }
    }

    fn hangup_of(&self, caller: &UniqueId) -> SeenHangup {
        match self.hangups.get(caller) {
            Some((by, _)) => SeenHangup::Asked(*by),
            None => SeenHangup::Nobody,
        }
    }

    /// Takes over what Asterisk lists, but for what was heard since the list was asked for.
    fn refresh(&mut self, view: &LiveView) {
        let listed: HashMap<&UniqueId, &SeenChannel> = view
            .channels
            .iter()
            .map(|live| (&live.channel.uniqueid, &live.channel))
            .filter(|(id, _)| !self.gone_since.contains(id))
            .collect();
        let lost: Vec<UniqueId> = self
            .channels
            .keys()
            .filter(|id| !listed.contains_key(id) && !self.made_since.contains(id))
            .cloned()
            .collect();
        for channel in &lost {
            self.channels.remove(channel);
            self.leg_gone(channel);
            self.departed.remove(channel);
        }
        for (id, channel) in listed {
            self.channels.entry(id.clone()).or_insert_with(|| Channel {
                name: channel.name.clone(),
                created_at: channel.created_at,
            });
        }
        self.learn_legs(view);
        self.waiting
            .retain(|leg, _| self.channels.contains_key(leg));
        self.departed
            .retain(|caller, _| self.channels.contains_key(caller));
        self.hangups.retain(|caller, (_, at)| {
            self.channels.contains_key(caller) || at.elapsed() < HANGUP_KEPT
        });
        self.made_since.clear();
        self.gone_since.clear();
    }

    /// Who dials or talks to whom, of calls that were dialled before we watched.
    fn learn_legs(&mut self, view: &LiveView) {
        self.unknown.clear();
        let bridges = view.bridges.as_deref().unwrap_or_default();
        for live in &view.channels {
            let caller = &live.channel.uniqueid;
            let Some(dials) = &live.dials else { continue };
            if self.legs.contains_key(caller) || !self.channels.contains_key(caller) {
                continue;
            }
            let endpoints = dialled_endpoints(dials).unwrap_or_default();
            let leg = bridges
                .iter()
                .find(|bridge| bridge.contains(caller))
                .and_then(|bridge| {
                    bridge.iter().find(|id| {
                        let channel = self.channels.get(*id);
                        *id != caller && channel.is_some_and(|c| is_of(&c.name, &endpoints))
                    })
                });
            match leg {
                Some(leg) => {
                    let (caller, leg) = (caller.clone(), leg.clone());
                    self.dialled(&caller, &leg);
                }
                None if !self.departed.contains_key(caller) => {
                    self.unknown.insert(caller.clone());
                }
                None => {}
            }
        }
    }
}

/// Whether a channel is one of these endpoints'.
pub(super) fn is_of(channel_name: &str, endpoints: &[&str]) -> bool {
    crate::domain::fact::endpoint_of_channel(channel_name)
        .is_some_and(|endpoint| endpoints.contains(&endpoint))
}

/// What there is to wait for.
enum Wait {
    /// No observer of ours sees the caller.
    Unseen,
    Nothing,
    /// Until all legs known are gone.
    Gone(ServerName, UniqueId, Arc<Notify>),
    /// A leg is there, but which channel it is, is not known.
    Unknown(ServerName),
}

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName, ServerSight>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the channel is: on the one server that has it. None if no observer sees it, or if several servers have a
    /// channel of that id and name.
    pub(super) fn find(&self, uniqueid: &UniqueId, name: &str) -> Option<Sighting> {
        let servers = self.lock();
        let mut found = servers.iter().filter_map(|(server, sight)| {
            let channel = sight.channels.get(uniqueid)?;
            (name.is_empty() || channel.name == name).then(|| Sighting {
                server: server.clone(),
                channel: SeenChannel {
                    uniqueid: uniqueid.clone(),
                    name: channel.name.clone(),
                    created_at: channel.created_at,
                },
            })
        });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    fn wait_for(&self, caller: &UniqueId, name: &str) -> Wait {
        let servers = self.lock();
        // The caller itself may be gone already while its target is still there.
        let sees = |sight: &ServerSight| {
            let channel = sight.channels.get(caller);
            match channel {
                Some(channel) => name.is_empty() || channel.name == name,
                None => sight.legs.contains_key(caller),
            }
        };
        let mut seeing = servers.iter().filter(|(_, sight)| sees(sight));
        let Some((server, sight)) = seeing.next() else {
            return Wait::Unseen;
        };
        match sight.legs.get(caller) {
            Some(legs) => match legs.channels.first() {
                Some(leg) => Wait::Gone(server.clone(), leg.clone(), Arc::clone(&legs.gone)),
                None => Wait::Nothing,
            },
            None if sight.unknown.contains(caller) => Wait::Unknown(server.clone()),
            None => Wait::Nothing,
        }
    }

    /// Waits until no channel dialled for this caller exists any more, at most for [`PATIENCE`].
    pub(super) async fn wait(&self, caller: &UniqueId, name: &str) -> Remaining {
        let start = Instant::now();
        let remaining = loop {
            let (server, leg, gone) = match self.wait_for(caller, name) {
                Wait::Unseen => break Remaining::Unseen,
                Wait::Nothing => break Remaining::Nothing,
                Wait::Unknown(server) => {
                    // It cannot be told apart, and is not seen to go: the next list of channels tells.
                    break Remaining::Unknown(server);
                }
                Wait::Gone(server, leg, gone) => (server, leg, gone),
            };
            let mut notified = std::pin::pin!(gone.notified());
            notified.as_mut().enable();
            // It may have gone before we began to listen.
            if !matches!(self.wait_for(caller, name), Wait::Gone(..)) {
                continue;
            }
            if timeout_at(start + PATIENCE, notified).await.is_err() {
                break Remaining::Leg(server, leg);
            }
        };
        let waited = start.elapsed();
        if waited > Duration::from_micros(50) {
            debug!(call.uniqueid = %caller, waited_us = waited.as_micros(), remaining = remaining.word(),
                "waited for the target's channel to go");
        }
        remaining
    }

    /// A slot waits for a channel. `false`: that is gone already.
    pub(super) fn note_waiting(
        &self,
        server: &ServerName,
        leg: &UniqueId,
        call: CallId,
        attempt: u32,
    ) -> bool {
        let mut servers = self.lock();
        let Some(sight) = servers.get_mut(server) else {
            return true;
        };
        let there = sight.channels.contains_key(leg);
        if there {
            sight.waiting.insert(leg.clone(), (call, attempt));
        }
        there
    }

    /// The slot that waited for a channel that has gone.
    pub(super) fn take_waiting(
        &self,
        server: &ServerName,
        leg: &UniqueId,
    ) -> Option<(CallId, u32)> {
        self.lock().get_mut(server)?.waiting.remove(leg)
    }

    /// Whether a channel that a slot waits for may still be there. A channel that is not known, of a caller with channels
    /// that are, counts as there.
    pub(super) fn has_leg(
        &self,
        server: &ServerName,
        leg: Option<&UniqueId>,
        caller: Option<&UniqueId>,
        endpoint: Option<&str>,
    ) -> bool {
        let servers = self.lock();
        let Some(sight) = servers.get(server) else {
            return true;
        };
        match (leg, caller) {
            (Some(leg), _) => sight.channels.contains_key(leg),
            // The caller may have another target by now; no target is offered twice in a call.
            (None, Some(caller)) => sight.legs.get(caller).is_some_and(|legs| {
                legs.channels.iter().any(|leg| {
                    let channel = sight.channels.get(leg);
                    channel.is_some_and(|c| endpoint.is_none_or(|e| is_of(&c.name, &[e])))
                })
            }),
            (None, None) => false,
        }
    }

    /// The target's channel of a caller, if it is known.
    pub(super) fn leg_of(&self, server: &ServerName, caller: &UniqueId) -> Option<UniqueId> {
        let servers = self.lock();
        let legs = servers.get(server)?.legs.get(caller)?;
        legs.channels.first().cloned()
    }

    /// What there still is of the channels dialled for a caller who has gone.
    pub(super) fn remaining_of(&self, server: &ServerName, caller: &UniqueId) -> Remaining {
        if let Some(leg) = self.leg_of(server, caller) {
            return Remaining::Leg(server.clone(), leg);
        }
        let servers = self.lock();
        let sight = servers.get(server);
        if sight.is_some_and(|sight| sight.unknown.contains(caller)) {
            Remaining::Unknown(server.clone())
        } else {
            Remaining::Nothing
        }
    }

    /// Which side asked first for the end of a call, as far as the one observer tells that sees it.
    pub(super) fn hangup_of(&self, caller: &UniqueId, name: &str) -> SeenHangup {
        let servers = self.lock();
        let mut seeing = servers.values().filter(|sight| {
            let channel = sight.channels.get(caller);
            match channel {
                Some(channel) => name.is_empty() || channel.name == name,
                None => sight.hangups.contains_key(caller),
            }
        });
        match (seeing.next(), seeing.next()) {
            (Some(sight), None) => sight.hangup_of(caller),
            _ => SeenHangup::Unseen,
        }
    }

    /// As [`Self::hangup_of`], of a channel that a server has told of.
    pub(super) fn hangup_on(&self, server: &ServerName, caller: &UniqueId) -> SeenHangup {
        let servers = self.lock();
        let sight = servers.get(server);
        sight.map_or(SeenHangup::Unseen, |sight| sight.hangup_of(caller))
    }

    /// Whether the caller lives while its target's channel went some time ago. `None`: that was not seen to go.
    pub(super) fn has_departed(&self, server: &ServerName, caller: &UniqueId) -> Option<bool> {
        let servers = self.lock();
        let at = servers.get(server)?.departed.get(caller)?;
        Some(at.elapsed() >= DEPARTED)
    }

    /// Whether a caller is seen whose target's channel is gone.
    pub(super) fn is_alone(&self, caller: &UniqueId, name: &str) -> bool {
        matches!(self.wait_for(caller, name), Wait::Nothing)
    }

    /// Whether any channel of an endpoint exists on a server.
    pub(super) fn has_channel_of(&self, server: &ServerName, endpoint: &str) -> bool {
        let servers = self.lock();
        servers.get(server).is_none_or(|sight| {
            let mut channels = sight.channels.values();
            channels.any(|channel| is_of(&channel.name, &[endpoint]))
        })
    }

    /// A list of the server's channels is about to be asked for.
    pub(super) fn begin_look(&self, server: &ServerName) {
        let mut servers = self.lock();
        let sight = servers.entry(server.clone()).or_default();
        sight.made_since.clear();
        sight.gone_since.clear();
    }

    /// What the server lists, and what it says of itself.
    pub(super) fn refresh(
        &self,
        server: &ServerName,
        identity: &ServerIdentity,
        contested: bool,
        view: &LiveView,
    ) {
        let mut servers = self.lock();
        let sight = servers.entry(server.clone()).or_default();
        sight.identity = identity.clone();
        sight.contested = contested;
        sight.refresh(view);
        drop(servers);
        if let Some(start) = identity.startup_time {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            starts.insert(server.clone(), start);
        }
    }

    /// What a server calls itself, and whether its name is used by another machine too.
    pub(super) fn standing(&self, server: &ServerName) -> (Option<String>, bool) {
        let servers = self.lock();
        let sight = servers.get(server);
        let name = sight.and_then(|sight| sight.identity.system_name.clone());
        (name, sight.is_some_and(|sight| sight.contested))
    }

    /// Whether a server was restarted since calls were compared last, as it says itself.
    pub(super) fn was_restarted(&self, server: &ServerName, identity: &ServerIdentity) -> bool {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = starts.get(server);
        before.is_some_and(|before| identity.startup_time.is_some_and(|now| now != *before))
    }
}

impl Engine {
    /// Waits until no target's channel of a call exists any more, or it is not worth waiting.
    pub(super) async fn target_gone(&self, arrival: &Arrival) -> Remaining {
        self.sightings
            .wait(&arrival.uniqueid, &arrival.channel)
            .await
    }

    /// Takes note of what an observer sees, the moment it sees it: for what must not wait until the
    /// database has been told. Never blocks.
    pub fn sight(&self, server: &ServerName, fact: &CallFact) {
        let mut servers = self.sightings.lock();
        let sight = servers.entry(server.clone()).or_default();
        match fact {
            CallFact::Made(channel) => sight.made(channel),
            CallFact::Dialled { caller, leg } => {
                for channel in [caller, leg] {
                    if !sight.channels.contains_key(&channel.uniqueid) {
                        sight.made(channel);
                    }
                }
                sight.dialled(&caller.uniqueid, &leg.uniqueid);
            }
            CallFact::Gone { channel, .. } => sight.gone(&channel.uniqueid),
            CallFact::HangupRequested { channel, soft } => {
                sight.hangup_requested(&channel.uniqueid, *soft);
            }
            CallFact::Answered { caller, .. } => sight.goes_on(&caller.uniqueid),
            CallFact::AttemptFailed { .. } => {}
        }
    }

    /// The observer of a server sees nothing any more: nobody shall wait for what it will not tell.
    pub fn lose_sight(&self, server: &ServerName) {
        if let Some(lost) = self.sightings.lock().remove(server) {
            for legs in lost.legs.values() {
                legs.gone.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LiveChannel;

    fn id(text: &str) -> UniqueId {
        UniqueId::parse(text).expect("a unique id")
    }

    fn server() -> ServerName {
        ServerName::parse("pbx1").expect("a name")
    }

    fn channel(text: &str) -> SeenChannel {
        SeenChannel {
            uniqueid: id(text),
            name: format!("PJSIP/x-{text}"),
            created_at: None,
        }
    }

    fn list(ids: &[&str]) -> LiveView {
        let live = |text: &&str| LiveChannel {
            channel: channel(text),
            up: true,
            dials: None,
            reservation: None,
        };
        LiveView {
            channels: ids.iter().map(live).collect(),
            bridges: None,
        }
    }

    impl Sightings {
        fn with(&self, act: impl FnOnce(&mut ServerSight)) {
            act(self.lock().entry(server()).or_default());
        }

        fn dial(&self, caller: &str, leg: &str) {
            self.with(|s| {
                s.made(&channel(caller));
                s.made(&channel(leg));
                s.dialled(&id(caller), &id(leg));
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn settling_waits_for_the_last_leg_of_its_own_caller() {
        let seen = Arc::new(Sightings::default());
        seen.dial("1.0", "1.1");
        seen.dial("1.0", "1.2");
        seen.dial("2.0", "2.1");
        let waiting = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                let start = Instant::now();
                let remaining = seen.wait(&id("1.0"), "").await;
                (remaining, start.elapsed())
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        seen.with(|s| s.gone(&id("1.1")));
        seen.with(|s| s.gone(&id("2.1")));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        seen.with(|s| s.gone(&id("1.2")));
        let (remaining, waited) = waiting.await.expect("no panic");
        assert_eq!(remaining, Remaining::Nothing);
        assert_eq!(waited, Duration::from_millis(20));
        seen.with(|s| assert!(s.legs.is_empty() && s.caller.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_is_not_there_and_not_long_for_what_stays() {
        let seen = Sightings::default();
        assert_eq!(seen.wait(&id("1.0"), "").await, Remaining::Unseen);
        seen.with(|s| s.made(&channel("1.0")));
        assert_eq!(seen.wait(&id("1.0"), "").await, Remaining::Nothing);
        seen.dial("1.0", "1.1");
        let start = Instant::now();
        let leg = Remaining::Leg(server(), id("1.1"));
        assert_eq!(seen.wait(&id("1.0"), "").await, leg);
        assert_eq!(start.elapsed(), PATIENCE);
        // The same unique id on another server, by another name.
        assert_eq!(
            seen.wait(&id("1.0"), "PJSIP/other-1").await,
            Remaining::Unseen
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_leaves_a_living_caller_has_departed() {
        let seen = Sightings::default();
        seen.dial("1.0", "1.1");
        seen.with(|s| s.gone(&id("1.1")));
        assert_eq!(seen.has_departed(&server(), &id("1.0")), Some(false));
        tokio::time::sleep(DEPARTED).await;
        assert_eq!(seen.has_departed(&server(), &id("1.0")), Some(true));
        seen.with(|s| s.gone(&id("1.0")));
        assert_eq!(seen.has_departed(&server(), &id("1.0")), None);
        seen.with(|s| assert!(s.departed.is_empty()));
    }

    #[test]
    fn a_list_replaces_what_was_known_but_not_what_was_heard_since() {
        let seen = Sightings::default();
        seen.dial("1.0", "1.1");
        seen.dial("2.0", "2.1");
        seen.begin_look(&server());
        seen.with(|s| s.made(&channel("3.0")));
        seen.with(|s| s.gone(&id("2.1")));
        // The list was taken before 3.0 came and 2.1 went; 1.0 and its target had gone unheard.
        seen.refresh(
            &server(),
            &ServerIdentity::default(),
            false,
            &list(&["2.0", "2.1"]),
        );
        seen.with(|s| {
            let mut known: Vec<_> = s.channels.keys().map(UniqueId::as_str).collect();
            known.sort_unstable();
            assert_eq!(known, ["2.0", "3.0"]);
            assert!(s.legs.is_empty() && s.caller.is_empty());
        });
    }

    #[tokio::test(start_paused = true)]
    async fn targets_of_before_are_known_by_their_bridge_or_are_unknown_while_their_caller_dials() {
        let seen = Sightings::default();
        let mut view = list(&["1.0", "1.1", "2.0", "3.0"]);
        for caller in [0, 2, 3] {
            view.channels[caller].dials = Some("PJSIP/x".to_owned());
        }
        view.bridges = Some(vec![vec![id("1.0"), id("1.1")]]);
        seen.begin_look(&server());
        seen.with(|s| s.gone(&id("3.0")));
        seen.refresh(&server(), &ServerIdentity::default(), false, &view);
        let leg = Remaining::Leg(server(), id("1.1"));
        assert_eq!(seen.remaining_of(&server(), &id("1.0")), leg);
        seen.with(|s| assert_eq!(s.unknown.iter().collect::<Vec<_>>(), [&id("2.0")]));
        let unknown = Remaining::Unknown(server());
        assert_eq!(seen.wait(&id("2.0"), "").await, unknown);
        seen.with(|s| s.gone(&id("2.0")));
        assert_eq!(seen.remaining_of(&server(), &id("2.0")), unknown);
        seen.refresh(
            &server(),
            &ServerIdentity::default(),
            false,
            &list(&["1.0"]),
        );
        seen.with(|s| assert!(s.unknown.is_empty() && s.legs.is_empty()));
    }

    #[test]
    fn a_channel_is_found_on_the_one_server_that_has_it() {
        let seen = Sightings::default();
        seen.with(|s| s.made(&channel("1.0")));
        let found = seen.find(&id("1.0"), "PJSIP/x-1.0").expect("found");
        assert_eq!(found.server, server());
        assert_eq!(seen.find(&id("1.0"), "PJSIP/other-1"), None);
        let other = ServerName::parse("pbx2").expect("a name");
        seen.lock().entry(other).or_default().made(&channel("1.0"));
        assert_eq!(seen.find(&id("1.0"), "PJSIP/x-1.0"), None, "two have it");
    }
}
