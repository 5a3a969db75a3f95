//! One supervised connection to one Asterisk server.
//!
//! It listens, turns what it hears into facts for the engine, and repairs what it did not hear: after
//! every connect, after every loss and every few seconds it compares open calls with live channels. It
//! decides nothing about calls. Invariants: the reader of the stream never waits for the engine; the
//! open calls are always listed before the channels; the state says "in sync" only while the last
//! comparison succeeded and nothing has been lost since.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::backoff::Backoff;
use super::rest::{self, Rest};
use super::stream::{self, Closed, FactQueue, Heard};
use super::{CallObserver, LinkState, Server, Tuning};
use crate::domain::{CallFact, LiveView, ServerIdentity, UniqueId};
use crate::routing::Switch;
use crate::runtime::clock;
use crate::runtime::metrics::{ARI_CONNECTED, ARI_RECONNECTS};

/// Seconds by which clocks may differ without a word.
const CLOCKS_DIFFER: f64 = 2.0;

/// Watches one Asterisk server for as long as it runs.
pub struct Watcher<O> {
    rest: Rest,
    observer: Arc<O>,
    tuning: Tuning,
    state: watch::Sender<LinkState>,
    queue: FactQueue,
    facts: mpsc::Receiver<Heard>,
    /// The fact the engine failed on, first to be told again.
    unsettled: Option<Heard>,
    backoff: Backoff,
    connected: metrics::Gauge,
    /// What the server said of itself at the last connect.
    identity: Option<ServerIdentity>,
    clock: ServerClock,
}

/// How the server's clock differs from ours. No verdict rests on it; whoever reads logs of both does.
#[derive(Default)]
struct ServerClock {
    /// When it is looked at next.
    due: Option<Instant>,
    /// What to tell of it.
    warning: Option<String>,
}

/// Why a session with Asterisk ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Rest(#[from] rest::Error),
    #[error(transparent)]
    Stream(#[from] stream::Error),
    #[error("Asterisk closed the event stream")]
    Cleanly,
    #[error("the event stream broke")]
    Broken(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("Asterisk has fallen silent")]
    Silent,
    #[error("another connection took over the application name")]
    Replaced,
    #[error("the reader of the event stream ended")]
    Reader,
}

/// A comparison of calls with channels that did not come to its end.
#[derive(Debug, thiserror::Error)]
enum SyncError<E: StdError + 'static> {
    #[error(transparent)]
    Rest(#[from] rest::Error),
    #[error("open calls cannot be listed")]
    OpenCalls(#[source] EngineError<E>),
    #[error("open calls cannot be compared with live channels")]
    Reconcile(#[source] EngineError<E>),
}

#[derive(Debug, thiserror::Error)]
enum EngineError<E: StdError + 'static> {
    #[error("the engine did not answer in time")]
    Timeout,
    #[error(transparent)]
    Failed(#[from] E),
}

impl<O: CallObserver> Watcher<O> {
    /// Prepares to watch; nothing is sent before [`Self::run`].
    pub fn new(server: Server, observer: O, tuning: Tuning) -> Result<Self, rest::Error> {
        let rest = Rest::new(Arc::new(server), tuning.request_timeout)?;
        let name = rest.server().name().to_string();
        let (queue, facts) = FactQueue::new(tuning.queue_capacity, &name);
        let backoff = Backoff::new(tuning.backoff_first, tuning.backoff_max);
        let connected = metrics::gauge!(ARI_CONNECTED, "server" => name);
        Ok(Self {
            rest,
            observer: Arc::new(observer),
            tuning,
            state: watch::Sender::new(LinkState::Connecting),
            queue,
            facts,
            unsettled: None,
            backoff,
            connected,
            identity: None,
            clock: ServerClock::default(),
        })
    }

    /// What gives orders to the server.
    pub fn switch(&self) -> Arc<dyn Switch> {
        Arc::new(self.rest.clone())
    }

    /// The connection's state, now and later.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Watches until `stop`, then takes leave of Asterisk. A draining daemon goes on watching: the calls
    /// it routed are still to be settled.
    #[tracing::instrument(name = "ari", skip_all, fields(asterisk = %self.rest.server().name()))]
    pub async fn run(mut self, stop: CancellationToken) {
        let mut readers = JoinSet::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch_forever(&mut readers, &stop) => {}
        }
        finish(&mut readers).await;
        let server = self.rest.server().name();
        self.observer.lose_sight(server);
        self.connected.set(0.0);
        if let Err(error) = self.in_time(self.observer.leave(server)).await {
            tracing::debug!(
                error = &error as &dyn StdError,
                "the others are not told that we leave"
            );
        }
    }

    async fn watch_forever(&mut self, readers: &mut JoinSet<Closed>, stop: &CancellationToken) {
        let reconnects = metrics::counter!(
            ARI_RECONNECTS,
            "server" => self.rest.server().name().to_string()
        );
        loop {
            self.connected.set(0.0);
            let reader_stop = stop.child_token();
            let ended = self.session(readers, &reader_stop).await;
            self.connected.set(0.0);
            let pause = self.after(&ended);
            reader_stop.cancel();
            finish(readers).await;
            self.observer.lose_sight(self.rest.server().name());
            self.wait_settling(pause).await;
            reconnects.increment(1);
        }
    }

    /// Publishes and logs the end of a session; answers how long to wait before the next.
    fn after(&mut self, ended: &Ended) -> Duration {
        let (state, pause) = match ended {
            Ended::Replaced => {
                let pause = self.tuning.replaced_pause;
                (
                    LinkState::Replaced,
                    pause.mul_f64(1.0 + fastrand::f64() / 4.0),
                )
            }
            Ended::Rest(rest::Error::Unauthorized { .. })
            | Ended::Stream(stream::Error::Refused(rest::Error::Unauthorized { .. })) => {
                (LinkState::Unauthorized, self.tuning.unauthorized_pause)
            }
            other => {
                let reason = chain(other);
                (LinkState::Disconnected { reason }, self.backoff.pause())
            }
        };
        let again_in_ms = pause.as_millis();
        let error = ended as &dyn StdError;
        if !self.publish(state.clone()) {
            // Said once when it began; the same again is only for those who look closely.
            tracing::debug!(error, again_in_ms, "still not connected to Asterisk");
        } else if state == LinkState::Replaced {
            tracing::error!(
                app = self.rest.server().app(),
                again_in_ms,
                "another daemon listens to Asterisk under our name: give each daemon its own \
                 `node.name`; until then calls are settled by the dialplan and time limits alone"
            );
        } else if state == LinkState::Unauthorized {
            tracing::error!(error, again_in_ms, "Asterisk does not let us in");
        } else {
            tracing::warn!(error, again_in_ms, "not connected to Asterisk");
        }
        pause
    }

    /// One connection, from the first question to its end.
    async fn session(
        &mut self,
        readers: &mut JoinSet<Closed>,
        reader_stop: &CancellationToken,
    ) -> Ended {
        if let Err(ended) = self.begin(readers, reader_stop).await {
            return ended;
        }
        let connected_at = Instant::now();
        let mut engine_answers = true;
        let mut facts_missed = false;
        let mut last_sync = connected_at;
        let mut sync_at = connected_at;
        let mut sync_backoff = Backoff::new(self.tuning.backoff_first, self.tuning.backoff_max);
        loop {
            tokio::select! {
                biased;
                closed = readers.join_next() => return ended_by(closed),
                () = self.queue.missed(), if !facts_missed => {
                    facts_missed = true;
                    self.lost("events came faster than they could be settled");
                    sync_at = sync_at.min(last_sync + self.tuning.resync_gap);
                }
                () = sleep_until(sync_at) => {
                    // What is missed from here on may have happened after the list of channels.
                    self.queue.forget_missed();
                    facts_missed = false;
                    // What was heard says more of a call than that its channel is gone: it goes first.
                    self.settle_waiting().await;
                    let result = self.sync().await;
                    if result.is_ok() {
                        // The engine works: a fact it still refuses is not worth waiting for.
                        self.unsettled = None;
                    }
                    last_sync = Instant::now();
                    engine_answers = matches!(result, Ok(_) | Err(SyncError::Rest(_)));
                    match result {
                        Ok(mut warnings) => {
                            self.look_at_clock().await;
                            warnings.extend(self.clock.warning.clone());
                            self.found(warnings);
                            sync_backoff.reset();
                            // A server that lets us in and throws us out again is not well yet.
                            if connected_at.elapsed() >= self.tuning.backoff_max {
                                self.backoff.reset();
                            }
                            sync_at = last_sync + self.tuning.sweep_interval;
                        }
                        Err(SyncError::Rest(error @ rest::Error::Unauthorized { .. })) => {
                            return error.into();
                        }
                        Err(error) => {
                            self.lost(&chain(&error));
                            sync_at = last_sync + sync_backoff.pause();
                        }
                    }
                }
                // While the engine fails, facts wait in the queue for it to recover.
                Some(fact) = self.facts.recv(), if engine_answers => {
                    if let Err(error) = self.settle(fact.clone()).await {
                        self.unsettled = Some(fact);
                        engine_answers = false;
                        self.lost(&chain(&error));
                        sync_at = Instant::now() + sync_backoff.pause();
                    }
                }
            }
        }
    }

    /// Connects and asks for the events we want. The reader runs from the first moment on.
    async fn begin(
        &mut self,
        readers: &mut JoinSet<Closed>,
        reader_stop: &CancellationToken,
    ) -> Result<(), Ended> {
        let info = self.rest.info().await?;
        let events = stream::connect(&self.rest, self.tuning.request_timeout).await?;
        let queue = self.queue.clone();
        let (observer, server) = (
            Arc::clone(&self.observer),
            self.rest.server().name().clone(),
        );
        let sight = move |fact: &CallFact| observer.sight(&server, fact);
        let reader = events.read(queue, sight, self.tuning.ping_interval, reader_stop.clone());
        readers.spawn(reader.in_current_span());
        match self.rest.set_event_filter().await {
            Ok(()) => {}
            // A user who may only read suffices, at the price of a hundred useless events per call.
            Err(error @ rest::Error::Forbidden { .. }) => {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "Asterisk will send all its events instead of the few needed"
                );
            }
            Err(error) => return Err(error.into()),
        }
        self.connected.set(1.0);
        self.publish(LinkState::Connecting);
        let known = self.identity.replace(info.clone());
        tracing::info!(
            version = info.version,
            system_name = info.system_name,
            started = info.startup_time.map(|at| at.to_string()),
            restarted = known.is_some_and(|known| known.startup_time != info.startup_time),
            "connected to Asterisk"
        );
        Ok(())
    }

    /// Compares open calls with live channels. The calls come first: a call listed there whose channel
    /// is not in the later list is really gone.
    async fn sync(&self) -> Result<Vec<String>, SyncError<O::Error>> {
        let identity = self.identity.clone().unwrap_or_default();
        let server = self.rest.server().name();
        let open = self
            .in_time(self.observer.open_calls(server))
            .await
            .map_err(SyncError::OpenCalls)?;
        let live = LiveView {
            channels: self.rest.channels().await?,
            bridges: self.bridges().await?,
        };
        let compared = self.observer.reconcile(server, &identity, open, &live);
        match timeout(self.tuning.reconcile_timeout, compared).await {
            Ok(Ok(warnings)) => Ok(warnings),
            Ok(Err(error)) => Err(SyncError::Reconcile(error.into())),
            Err(_) => Err(SyncError::Reconcile(EngineError::Timeout)),
        }
    }

    /// Compares the server's clock with ours, once a minute.
    async fn look_at_clock(&mut self) {
        let now = Instant::now();
        let due = *self
            .clock
            .due
            .get_or_insert(now + self.tuning.clock_interval / 4);
        if now < due {
            return;
        }
        self.clock.due = Some(now + self.tuning.clock_interval);
        let before = clock::now();
        let Ok(pong) = self.rest.ping().await else {
            return;
        };
        let after = clock::now();
        let Some(theirs) = pong.at else { return };
        // It answered at some moment in between.
        let ahead = |ours: Timestamp| ours.duration_since(theirs).as_secs_f64();
        let ahead = f64::midpoint(ahead(before), ahead(after));
        let server = self.rest.server().name();
        crate::runtime::metrics::clock_offset(server.as_str(), ahead);
        self.clock.warning = (ahead.abs() > CLOCKS_DIFFER).then(|| {
            let (by, how) = (ahead.abs(), if ahead > 0.0 { "behind" } else { "ahead of" });
            format!(
                "the clock of {server} is {by:.0} s {how} this host's: see that NTP runs on both (calls do not \
                 suffer, whoever compares logs does)"
            )
        });
    }

    /// Who talks to whom. An Asterisk that does not say costs some repairs, not the comparison.
    async fn bridges(&self) -> Result<Option<Vec<Vec<UniqueId>>>, rest::Error> {
        match self.rest.bridges().await {
            Ok(bridges) => Ok(Some(bridges)),
            Err(error @ (rest::Error::Unauthorized { .. } | rest::Error::Unreachable { .. })) => {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn StdError,
                    "Asterisk does not list its bridges"
                );
                Ok(None)
            }
        }
    }

    /// Tells the engine what waits, as far as it takes it.
    async fn settle_waiting(&mut self) {
        let mut waiting = self.facts.len();
        while let Some(fact) = self.unsettled.take().or_else(|| {
            waiting = waiting.checked_sub(1)?;
            self.facts.try_recv().ok()
        }) {
            if let Err(error) = self.settle(fact.clone()).await {
                tracing::debug!(error = &error as &dyn StdError, "a fact is not settled");
                self.unsettled = Some(fact);
                return;
            }
        }
    }

    /// Tells the engine a fact, a few times if need be.
    async fn settle(&self, (fact, heard): Heard) -> Result<(), EngineError<O::Error>> {
        let server = self.rest.server().name();
        let mut backoff = Backoff::new(self.tuning.backoff_first / 4, self.tuning.backoff_max);
        let mut attempt = 1;
        loop {
            match self
                .in_time(self.observer.observe(server, fact.clone(), heard))
                .await
            {
                Err(_) if attempt < self.tuning.observe_attempts => attempt += 1,
                result => return result,
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn in_time<T>(
        &self,
        verb: impl Future<Output = Result<T, O::Error>>,
    ) -> Result<T, EngineError<O::Error>> {
        timeout(self.tuning.observe_timeout, verb)
            .await
            .map_err(|_| EngineError::Timeout)?
            .map_err(EngineError::Failed)
    }

    /// Waits, meanwhile settling what was heard before the connection was lost. Once the engine fails,
    /// the rest stays in the queue and the failed fact is the first of them.
    async fn wait_settling(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut engine_answers = true;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                Some(fact) = self.facts.recv(), if engine_answers => {
                    if let Err(error) = self.settle(fact.clone()).await {
                        self.unsettled = Some(fact);
                        engine_answers = false;
                        tracing::debug!(error = &error as &dyn StdError, "a late fact is not settled");
                    }
                }
            }
        }
    }

    fn found(&self, warnings: Vec<String>) {
        let before = match &*self.state.borrow() {
            LinkState::InSync { since, warnings } => Some((*since, warnings.clone())),
            _ => None,
        };
        let since = before.as_ref().map_or_else(clock::now, |(since, _)| *since);
        if before.is_none() {
            tracing::info!("calls and channels of Asterisk are in sync");
        }
        let known = before.map(|(_, warnings)| warnings).unwrap_or_default();
        for warning in warnings.iter().filter(|w| !known.contains(w)) {
            tracing::warn!("{warning}");
        }
        self.publish(LinkState::InSync { since, warnings });
    }

    fn lost(&self, reason: &str) {
        let known = matches!(*self.state.borrow(), LinkState::OutOfSync { .. });
        self.publish(LinkState::OutOfSync {
            reason: reason.to_owned(),
        });
        if known {
            tracing::debug!(reason, "still out of sync");
        } else {
            tracing::warn!(reason, "calls and channels of Asterisk are out of sync");
        }
    }

    /// Whether this is news.
    fn publish(&self, state: LinkState) -> bool {
        self.state.send_if_modified(|current| {
            let news = *current != state;
            *current = state;
            news
        })
    }
}

/// Lets the readers take their leave, but not for long.
async fn finish(readers: &mut JoinSet<Closed>) {
    let all = async { while readers.join_next().await.is_some() {} };
    if timeout(Duration::from_secs(1), all).await.is_err() {
        readers.shutdown().await;
    }
}

fn ended_by(closed: Option<Result<Closed, tokio::task::JoinError>>) -> Ended {
    match closed {
        Some(Ok(Closed::Cleanly)) => Ended::Cleanly,
        Some(Ok(Closed::Broken(error))) => Ended::Broken(error),
        Some(Ok(Closed::Silent)) => Ended::Silent,
        Some(Ok(Closed::Replaced)) => Ended::Replaced,
        Some(Ok(Closed::Stopped) | Err(_)) | None => Ended::Reader,
    }
}

/// An error and its causes in one line. Some libraries repeat the cause in their message: said once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
