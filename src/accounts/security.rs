//! What concerns security, on its way to the database: log-ins and failures, and who heard, read, searched and took away
//! what.
//!
//! Whoever makes an event never waits for it: it goes into a queue, and a task writes it down. Invariants: the queue is
//! bounded; an event that could not be kept is counted and logged; no event holds a secret.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::store::security::SecurityEvent;
use crate::db;
use crate::db::Store;
use crate::domain::{Role, UserId};
use crate::http::kit::principal::Caller;
use crate::http::kit::trace;
use crate::runtime::clock;
use crate::runtime::digest;
use crate::runtime::metrics;
use crate::runtime::telemetry::Chain;

/// Events that wait to be written. A burst of log-ins is far below it, an outage of the database may not be.
const QUEUE: usize = 4_096;

/// Events written at once.
const BATCH: usize = 200;

/// Things that were noted a while ago and are not noted again at once; beyond so many all are forgotten.
const MOST_RECENT: usize = 10_000;

/// What is heard, read or looked for again within so long is one event.
const SAME: Duration = Duration::from_secs(600);

/// First and longest wait before a write is tried again.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Once no more can come, a write is tried so often, so that the process can end.
const LAST_TRIES: u32 = 5;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A log-in succeeded.
    Login,
    /// One did not.
    LoginFailed,
    /// An account or a network has to wait after too many failures.
    LoginLocked,
    /// A session was ended by its owner.
    Logout,
    /// A session has given its password again.
    Reauthenticated,
    /// A remember token came that was replaced long ago: its session was ended.
    SessionStolen,
    /// An account changed its password.
    PasswordChanged,
    /// An administrator set an account's password.
    PasswordSet,
    /// An account has to wait after too many wrong codes.
    SecondFactorLocked,
    /// A recovery code was used in place of a code.
    RecoveryCodeUsed,
    /// An API key was used from a network for the first time.
    KeyNewNetwork,
    /// A recording was played or downloaded.
    RecordingPlayed,
    /// A transcript was read.
    TranscriptRead,
    /// Words were looked for in transcripts.
    TranscriptsSearched,
    /// The call log was taken away.
    CallsExported,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Login,
        Self::LoginFailed,
        Self::LoginLocked,
        Self::Logout,
        Self::Reauthenticated,
        Self::SessionStolen,
        Self::PasswordChanged,
        Self::PasswordSet,
        Self::SecondFactorLocked,
        Self::RecoveryCodeUsed,
        Self::KeyNewNetwork,
        Self::RecordingPlayed,
        Self::TranscriptRead,
        Self::TranscriptsSearched,
        Self::CallsExported,
    ];

    /// Its name in the database, in the API and as a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginFailed => "login_failed",
            Self::LoginLocked => "login_locked",
            Self::Logout => "logout",
            Self::Reauthenticated => "reauthenticated",
            Self::SessionStolen => "session_stolen",
            Self::PasswordChanged => "password_changed",
            Self::PasswordSet => "password_set",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::KeyNewNetwork => "key_new_network",
            Self::RecordingPlayed => "recording_played",
            Self::TranscriptRead => "transcript_read",
            Self::TranscriptsSearched => "transcripts_searched",
            Self::CallsExported => "calls_exported",
        }
    }
}

/// An event of somebody who is not let in, or not yet.
pub fn of_stranger(kind: Kind, address: IpAddr) -> SecurityEvent {
    SecurityEvent {
        at: clock::now(),
        event: kind.as_str(),
        actor_id: None,
        actor: None,
        actor_role: None,
        via: None,
        user_id: None,
        object_type: None,
        object_id: None,
        detail: None,
        request_id: trace::request_id(),
        address: address.to_string(),
        user_agent: None,
    }
}

impl SecurityEvent {
    /// By this account, which it concerns too.
    #[must_use]
    pub fn by_account(mut self, id: UserId, name: &str, role: Option<Role>) -> Self {
        self.actor_id = Some(id.0);
        self.actor = Some(name.to_owned());
        self.actor_role = role.map(Role::as_str);
        self.user_id = (role == Some(Role::User)).then_some(id.0);
        self
    }

    /// About a thing.
    #[must_use]
    pub fn about(mut self, object_type: &'static str, id: impl std::fmt::Display) -> Self {
        self.object_type = Some(object_type);
        self.object_id = Some(id.to_string());
        self
    }

    /// With what else there is to know.
    #[must_use]
    pub fn with(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// From a program that calls itself so.
    #[must_use]
    pub fn from_program(mut self, user_agent: &str) -> Self {
        self.user_agent = (!user_agent.is_empty()).then(|| user_agent.to_owned());
        self
    }
}

/// An event of somebody who was let in.
pub fn of_caller(kind: Kind, caller: &Caller) -> SecurityEvent {
    let mut event = of_stranger(kind, caller.address).by_account(
        caller.user_id,
        &caller.username,
        Some(caller.role),
    );
    event.via = Some(caller.actor().via);
    event
}

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Queue>);

struct Queue {
    sender: mpsc::Sender<Item>,
    /// By digest: what is the same may be long.
    recent: Mutex<HashMap<[u8; 32], Instant>>,
    /// Keys with the networks they were used from, in this process.
    seen: Mutex<HashSet<(i64, IpAddr)>>,
}

enum Item {
    Event(SecurityEvent),
    /// An event if the key was not used from this network before.
    KeyUse {
        key_id: i64,
        user_id: UserId,
        network: String,
        event: SecurityEvent,
    },
}

impl Item {
    fn event(&self) -> &SecurityEvent {
        match self {
            Self::Event(event) | Self::KeyUse { event, .. } => event,
        }
    }
}

impl Recorder {
    /// Writes to a store until all its clones are gone. The task ends when all that came is written.
    pub fn start(store: Store) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let recorder = Self(Arc::new(Queue {
            sender,
            recent: Mutex::default(),
            seen: Mutex::default(),
        }));
        (recorder, tokio::spawn(write_down(store, receiver)))
    }

    /// Takes an event.
    pub fn note(&self, event: SecurityEvent) {
        tracing::info!(
            security.event = event.event,
            user.id = event.actor_id,
            address = event.address,
            object = event.object_id,
            "security event"
        );
        self.put(Item::Event(event));
    }

    /// A key was used. That is an event once for each network.
    pub fn key_used(
        &self,
        key_id: i64,
        user_id: UserId,
        name: &str,
        role: Option<Role>,
        address: IpAddr,
    ) {
        let network = network_of(address);
        let known = lock(&self.0.seen).contains(&(key_id, network));
        if known {
            return;
        }
        let event = of_stranger(Kind::KeyNewNetwork, address)
            .by_account(user_id, name, role)
            .about("key", key_id);
        let network_shown = shown_network(network);
        let kept = self.put(Item::KeyUse {
            key_id,
            user_id,
            network: network_shown,
            event,
        });
        if kept {
            let mut seen = lock(&self.0.seen);
            if seen.len() >= MOST_RECENT {
                seen.clear();
            }
            seen.insert((key_id, network));
        }
    }

    /// As [`Self::note`], but the same again from the same session or key within some minutes is no event of its own: a
    /// player asks for a recording in pieces, and a list is read page by page. `what` tells what is the same.
    pub fn note_once(&self, what: &str, event: SecurityEvent) {
        let via = event.via.as_deref().unwrap_or_default();
        let name = digest::of_text(&format!("{} {via} {what}", event.event));
        let mut recent = lock(&self.0.recent);
        let now = Instant::now();
        if recent
            .get(&name)
            .is_some_and(|at| now.duration_since(*at) < SAME)
        {
            return;
        }
        if recent.len() >= MOST_RECENT {
            recent.clear();
        }
        recent.insert(name, now);
        drop(recent);
        self.note(event);
    }

    /// Whether it is in the queue.
    fn put(&self, item: Item) -> bool {
        let refused = match self.0.sender.try_send(item) {
            Ok(()) => return true,
            Err(
                mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item),
            ) => item,
        };
        lost(&[refused], "too many wait for the database");
        false
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first address of the /24 or /64 around an address.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::from((v4.to_bits() >> 8 << 8).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
    }
}

fn shown_network(first: IpAddr) -> String {
    let bits = if first.is_ipv4() { 24 } else { 64 };
    format!("{first}/{bits}")
}

/// What cannot be kept in the database stands in the log.
fn lost(items: &[Item], why: &str) {
    for item in items {
        let event = item.event();
        metrics::security_event_lost();
        tracing::error!(
            security.event = event.event,
            user.id = event.actor_id,
            address = event.address,
            object = event.object_id,
            "a security event is not kept in the database: {why}"
        );
    }
}

async fn write_down(store: Store, mut receiver: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut items, BATCH).await > 0 {
        let mut events = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Event(event) => events.push(event),
                Item::KeyUse {
                    key_id,
                    user_id,
                    network,
                    event,
                } => {
                    let seen = patiently(&receiver, || {
                        store.see_key_network(key_id, user_id, &network)
                    });
                    match seen.await {
                        Ok(None) => {}
                        Ok(Some(before)) => events.push(event.with(json!({
                            "network": network,
                            "firstUse": before == 0,
                        }))),
                        Err(why) => lost(&[Item::Event(event)], &why),
                    }
                }
            }
        }
        if events.is_empty() {
            continue;
        }
        match patiently(&receiver, || store.note_security_events(&events)).await {
            Ok(()) => events
                .iter()
                .for_each(|event| metrics::security_event(event.event)),
            Err(why) => {
                let events: Vec<Item> = events.into_iter().map(Item::Event).collect();
                lost(&events, &why);
            }
        }
    }
}

/// Tries until it is done, the database refuses it for good, or the process ends.
async fn patiently<T, F: Future<Output = Result<T, db::Error>>>(
    receiver: &mpsc::Receiver<Item>,
    work: impl Fn() -> F,
) -> Result<T, String> {
    let (mut wait, longest) = WAITS;
    let mut last_tries = 0;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // Nobody is left who could send.
        last_tries += u32::from(receiver.sender_strong_count() == 0);
        let passes = error.is_lost_connection() || error.is_overload();
        if !passes || last_tries >= LAST_TRIES {
            return Err(Chain(&error).to_string());
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_24_or_a_64() {
        let shown = |address: &str| shown_network(network_of(address.parse().expect("an address")));
        assert_eq!(shown("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn an_event_too_many_is_refused_at_once_and_told() {
        let (sender, mut receiver) = mpsc::channel(2);
        let recorder = Recorder(Arc::new(Queue {
            sender,
            recent: Mutex::default(),
            seen: Mutex::default(),
        }));
        let event = || Item::Event(of_stranger(Kind::Login, IpAddr::from([192, 0, 2, 1])));
        let taken: Vec<bool> = (0..3).map(|_| recorder.put(event())).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(receiver.try_recv().is_ok());
        assert!(recorder.put(event()));
        // A use of a key that found no place is told again at the next one.
        let key = || recorder.key_used(7, UserId(3), "alice", None, IpAddr::from([192, 0, 2, 1]));
        key();
        assert!(lock(&recorder.0.seen).is_empty());
        while receiver.try_recv().is_ok() {}
        key();
        key();
        assert_eq!(lock(&recorder.0.seen).len(), 1);
        assert!(receiver.try_recv().is_ok() && receiver.try_recv().is_err());
    }

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let mut names = Kind::ALL.map(Kind::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
