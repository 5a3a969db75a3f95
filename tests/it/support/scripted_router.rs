//! An engine that answers as the test says and remembers what it was asked.

use std::sync::{Arc, Mutex};

use capconduit::asterisk::agi::Router;
use capconduit::domain::{CallId, RefusalReason, ReservationId};
use capconduit::routing::{EndReport, Offer, Refusal, RouteRequest, Verdict};
use tokio::sync::watch;

/// The engine's own fault.
#[derive(Debug, thiserror::Error)]
#[error("scripted fault")]
pub struct Broken;

/// What it answers to `route`.
#[derive(Clone)]
pub enum Script {
    /// This verdict.
    Answer(Verdict),
    /// A fault.
    Fail,
    /// This verdict, once the gate is open; `end` waits too.
    WhenOpen(watch::Receiver<bool>, Verdict),
}

/// What it was asked.
#[derive(Default)]
pub struct Asked {
    /// Questions received.
    pub routes: Vec<RouteRequest>,
    /// Reports received.
    pub ends: Vec<EndReport>,
    /// Questions and reports worked on to the end.
    pub finished: usize,
}

/// The engine.
#[derive(Clone)]
pub struct ScriptedRouter {
    script: Arc<Script>,
    /// What it was asked so far.
    pub asked: Arc<Mutex<Asked>>,
}

impl ScriptedRouter {
    /// An engine with this script.
    pub fn new(script: Script) -> Self {
        Self {
            script: Arc::new(script),
            asked: Arc::default(),
        }
    }

    /// Offers the same target to everyone.
    pub fn dialling() -> Self {
        Self::new(Script::Answer(Verdict::Dial(offer())))
    }

    /// A view of what it was asked.
    pub fn look<T>(&self, view: impl FnOnce(&mut Asked) -> T) -> T {
        view(&mut self.asked.lock().expect("no test panicked with it"))
    }

    async fn gate(&self) {
        if let Script::WhenOpen(gate, _) = &*self.script {
            let mut gate = gate.clone();
            gate.wait_for(|open| *open)
                .await
                .expect("the test holds it");
        }
    }
}

impl Router for ScriptedRouter {
    type Error = Broken;

    async fn route(&self, request: RouteRequest) -> Result<Verdict, Broken> {
        self.look(|asked| asked.routes.push(request));
        self.gate().await;
        self.look(|asked| asked.finished += 1);
        match &*self.script {
            Script::Answer(verdict) | Script::WhenOpen(_, verdict) => Ok(verdict.clone()),
            Script::Fail => Err(Broken),
        }
    }

    async fn end(&self, report: EndReport) -> Result<(), Broken> {
        self.look(|asked| asked.ends.push(report));
        self.gate().await;
        self.look(|asked| asked.finished += 1);
        match &*self.script {
            Script::Fail => Err(Broken),
            _ => Ok(()),
        }
    }
}

/// An offer without frills.
pub fn offer() -> Offer {
    Offer {
        call_id: CallId(7),
        attempt: 1,
        reservation_id: ReservationId(42),
        endpoint: "acme-west".to_owned(),
        ring_timeout_seconds: 25,
        caller_id: None,
        recording: None,
    }
}

/// A refusal.
pub fn refusal() -> Refusal {
    let reason = RefusalReason::NoEligibleClientsAvailable;
    Refusal {
        call_id: CallId(7),
        reason,
        cause: reason.hangup_cause(),
    }
}
