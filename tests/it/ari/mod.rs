//! The watcher against a fake Asterisk.

mod facts;
mod link;
mod rest;
mod resync;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use capconduit::asterisk::ari::{CallObserver, LinkState, Server, Tuning, Watcher};
use capconduit::domain::{CallFact, LiveChannel, LiveView, ServerIdentity, ServerName};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::journal::{Journal, PATIENCE};

/// Short pauses; sweeps only where a test asks for them.
fn tuning() -> Tuning {
    Tuning {
        sweep_interval: Duration::from_secs(3600),
        request_timeout: PATIENCE,
        observe_timeout: PATIENCE,
        reconcile_timeout: PATIENCE,
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(50),
        unauthorized_pause: Duration::from_millis(10),
        replaced_pause: Duration::from_millis(10),
        resync_gap: Duration::from_millis(10),
        ..Tuning::default()
    }
}

/// Notes what it is told; can be made slow or to fail.
#[derive(Clone)]
struct Recorder {
    journal: Journal,
    facts: Arc<Mutex<Vec<CallFact>>>,
    live: Arc<Mutex<Vec<LiveChannel>>>,
    open: Arc<watch::Sender<bool>>,
    failing: Arc<watch::Sender<bool>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the engine is out of order")]
struct OutOfOrder;

impl Recorder {
    fn new(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
            facts: Arc::default(),
            live: Arc::default(),
            open: Arc::new(watch::Sender::new(true)),
            failing: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A shut gate holds back every fact.
    fn set_gate(&self, open: bool) {
        self.open.send_replace(open);
    }

    fn set_failing(&self, failing: bool) {
        self.failing.send_replace(failing);
    }

    fn facts(&self) -> Vec<CallFact> {
        self.facts.lock().expect("not poisoned").clone()
    }

    /// The list of the last comparison.
    fn live(&self) -> Vec<LiveChannel> {
        self.live.lock().expect("not poisoned").clone()
    }

    fn check(&self, verb: &str) -> Result<(), OutOfOrder> {
        if *self.failing.borrow() {
            self.journal.note(format!("{verb} failed"));
            return Err(OutOfOrder);
        }
        Ok(())
    }
}

impl CallObserver for Recorder {
    type Open = usize;
    type Error = OutOfOrder;

    async fn observe(
        &self,
        server: &ServerName,
        fact: CallFact,
        _: Instant,
    ) -> Result<(), OutOfOrder> {
        assert_eq!(server.as_str(), "pbx1");
        self.check("observe")?;
        let mut open = self.open.subscribe();
        if !*open.borrow() {
            self.journal.note("observe held");
        }
        open.wait_for(|open| *open).await.expect("the gate stands");
        self.facts.lock().expect("not poisoned").push(fact);
        self.journal.note("observe");
        Ok(())
    }

    fn sight(&self, server: &ServerName, fact: &CallFact) {
        assert_eq!(server.as_str(), "pbx1");
        match fact {
            CallFact::Dialled { .. } => self.journal.note("sight leg"),
            CallFact::Gone { .. } => self.journal.note("sight gone"),
            _ => {}
        }
    }

    fn lose_sight(&self, _: &ServerName) {
        self.journal.note("lose_sight");
    }

    async fn open_calls(&self, _: &ServerName) -> Result<usize, OutOfOrder> {
        self.check("open_calls")?;
        self.journal.note("open_calls");
        Ok(self.journal.count("open_calls"))
    }

    async fn reconcile(
        &self,
        _: &ServerName,
        _: &ServerIdentity,
        open: usize,
        live: &LiveView,
    ) -> Result<Vec<String>, OutOfOrder> {
        self.check("reconcile")?;
        assert_eq!(open, self.journal.count("open_calls"), "the newest list");
        let mut known = self.live.lock().expect("not poisoned");
        known.clone_from(&live.channels);
        drop(known);
        self.journal.note(match &live.bridges {
            Some(bridges) if !bridges.is_empty() => "reconcile with bridges",
            Some(_) => "reconcile",
            None => "reconcile without bridges",
        });
        Ok(Vec::new())
    }

    async fn leave(&self, _: &ServerName) -> Result<(), OutOfOrder> {
        Ok(())
    }
}

/// A watcher at work.
struct Watching {
    state: watch::Receiver<LinkState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watching {
    fn start(server: Server, recorder: &Recorder, tuning: Tuning) -> Self {
        let watcher = Watcher::new(server, recorder.clone(), tuning).expect("a client");
        let state = watcher.state();
        let stop = CancellationToken::new();
        let task = tokio::spawn(watcher.run(stop.clone()));
        Self { state, stop, task }
    }

    async fn wait_until(&mut self, what: &str, wanted: impl FnMut(&LinkState) -> bool) {
        let waiting = tokio::time::timeout(PATIENCE, self.state.wait_for(wanted));
        let reached = matches!(waiting.await, Ok(Ok(_)));
        assert!(reached, "not {what} but {:?}", *self.state.borrow());
    }

    async fn wait_in_sync(&mut self) {
        self.wait_until("in sync", LinkState::is_in_sync).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("it stops").expect("it does not panic");
    }
}
