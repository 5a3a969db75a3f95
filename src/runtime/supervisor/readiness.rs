//! Whether this daemon should be sent calls, component by component.
//!
//! Each component is told its state by whoever looks after it; nothing here checks anything. Invariant:
//! from the drain signal on, the daemon is not ready, whatever its components say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// How a component stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Does its work.
    Ready,
    /// Does not; why, in a few words without secrets.
    NotReady(Cow<'static, str>),
    /// Does not do all it should, which keeps no call from being routed; why.
    Degraded(Cow<'static, str>),
    /// Is not used here, which is fine.
    NotConfigured,
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady(_) => "not ready",
            Self::Degraded(_) => "degraded",
            Self::NotConfigured => "not configured",
        }
    }

    fn reason(&self) -> Option<&Cow<'static, str>> {
        match self {
            Self::NotReady(reason) | Self::Degraded(reason) => Some(reason),
            Self::Ready | Self::NotConfigured => None,
        }
    }
}

/// The states of all components. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    states: Arc<Mutex<BTreeMap<String, State>>>,
    drain: CancellationToken,
}

impl Readiness {
    /// Without components, which is not ready. `drain` is the supervisor's signal.
    pub fn new(drain: CancellationToken) -> Self {
        Self {
            states: Arc::default(),
            drain,
        }
    }

    /// Adds a component that has yet to start; its owner keeps the handle and sets its state.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let name = name.into();
        let starting = State::NotReady("starting".into());
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.entry(name.clone()).or_insert(starting);
        drop(states);
        Component {
            name,
            readiness: self.clone(),
        }
    }

    /// How things stand now.
    pub fn report(&self) -> Report {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = self.drain.is_cancelled();
        let all = states.values().all(|s| !matches!(s, State::NotReady(_)));
        let components = states.iter().map(|(name, state)| {
            let reason = state.reason().cloned();
            let state = state.word();
            (name.clone(), ComponentReport { state, reason })
        });
        Report {
            ready: all && !draining && !states.is_empty(),
            draining,
            components: components.collect(),
        }
    }

    fn set(&self, name: &str, state: State) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let word = state.word();
        let detail = state.reason().cloned().unwrap_or_default();
        let before = states.insert(name.to_owned(), state);
        drop(states);
        // Only a change of state is news: the reason of one that stays down may vary with each attempt.
        if before.is_none_or(|before| before.word() != word) {
            if detail.is_empty() {
                tracing::info!(component = name, "component is {word}");
            } else {
                tracing::warn!(component = name, reason = %detail, "component is {word}");
            }
        }
    }
}

/// One component's part of the [`Readiness`]; for its owner.
#[derive(Debug, Clone)]
pub struct Component {
    name: String,
    readiness: Readiness,
}

impl Component {
    /// Sets the state.
    pub fn set(&self, state: State) {
        self.readiness.set(&self.name, state);
    }

    /// It does its work.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// It does not; why, in a few words without secrets.
    pub fn not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(State::NotReady(reason.into()));
    }

    /// It does not do all it should, and calls are routed all the same; why.
    pub fn degraded(&self, reason: impl Into<Cow<'static, str>>) {
        self.set(State::Degraded(reason.into()));
    }

    /// It is not used here.
    pub fn not_configured(&self) {
        self.set(State::NotConfigured);
    }
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether to send calls here.
    pub ready: bool,
    /// Whether the daemon is about to end.
    pub draining: bool,
    /// By name.
    pub components: BTreeMap<String, ComponentReport>,
}

/// One component in the [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentReport {
    /// `ready`, `not ready`, `degraded` or `not configured`.
    pub state: &'static str,
    /// Why it is not ready or degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_no_used_component_is_missing() {
        let drain = CancellationToken::new();
        let readiness = Readiness::new(drain.clone());
        assert!(!readiness.report().ready, "nothing has started");

        let database = readiness.component("database");
        let ari = readiness.component("ari");
        ari.not_configured();
        assert!(!readiness.report().ready, "the database is starting");
        database.ready();
        assert!(readiness.report().ready);

        database.not_ready("connection refused");
        let report = serde_json::to_value(readiness.report()).unwrap();
        let expected = serde_json::json!({
            "ready": false,
            "draining": false,
            "components": {
                "ari": { "state": "not configured" },
                "database": { "state": "not ready", "reason": "connection refused" },
            },
        });
        assert_eq!(report, expected);

        database.ready();
        let transcription = readiness.component("transcription");
        transcription.degraded("no model");
        let report = readiness.report();
        assert!(report.ready, "calls need no transcripts");
        let shown = &report.components["transcription"];
        assert_eq!(
            (shown.state, shown.reason.as_deref()),
            ("degraded", Some("no model"))
        );

        drain.cancel();
        assert!(!readiness.report().ready && readiness.report().draining);
    }
}
