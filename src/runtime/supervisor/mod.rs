//! Owns the long-lived tasks: starts them under a name, tells them to end, and notices when one dies.
//!
//! It knows no telephony. Two signals go to tasks: **drain** (begin nothing new, finish what is begun) and **stop** (end
//! now). Whoever answers callers goes on through both and gets the same two at the very end, as **close** and
//! **abort**: between its last answer and the next daemon's first one lies the exit alone. Invariants: no task is lost
//! in silence, as one that ends without being asked ends the process; and the process always ends within the drain
//! limit, [`CLOSE_LIMIT`] and twice [`STOP_LIMIT`].

mod readiness;
pub mod systemd;

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::telemetry::{Chain, panic_text};

pub use readiness::{Component, ComponentReport, Readiness, Report, State};

/// How long tasks may take to end after the stop signal, before they are dropped where they are.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long those who answer callers may take for what is begun once they take nothing more. Callers wait for the next
/// daemon from then on, and they are promised an answer within a second and a half.
pub const CLOSE_LIMIT: Duration = Duration::from_millis(800);

/// How long begun work may take when a task has died: a quick restart is worth more than the last answer,
/// and no decision takes longer than this.
const DRAIN_LIMIT_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// What a task may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A task ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It returned.
    #[error("task `{task}` ended although nobody asked it to")]
    Ended {
        /// Its name.
        task: String,
    },
    /// It returned an error.
    #[error("task `{task}` failed")]
    Failed {
        /// Its name.
        task: String,
        /// Its error.
        source: BoxError,
    },
    /// It was dropped, as it did not stop.
    #[error("task `{task}` was dropped")]
    Dropped {
        /// Its name.
        task: String,
    },
    /// It panicked. Where, the panic hook has said.
    #[error("task `{task}` panicked: {message}")]
    Panicked {
        /// Its name.
        task: String,
        /// What it said.
        message: String,
    },
}

/// What tasks listen for, in the order in which they come. Stop implies drain, abort implies close.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Begin nothing new, finish what is begun.
    pub drain: CancellationToken,
    /// End now.
    pub stop: CancellationToken,
    /// For those who answer callers: take nothing new, finish what is begun.
    pub close: CancellationToken,
    /// For those who answer callers: end now.
    pub abort: CancellationToken,
}

/// What a task may return: nothing, or a result.
pub trait Outcome: Send + 'static {
    /// As a result.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl Outcome for Infallible {
    fn into_result(self) -> Result<(), BoxError> {
        match self {}
    }
}

impl<E: Into<BoxError> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// When a task is expected to end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Drained,
    Stopped,
    Closed,
}

/// Somebody outside asks the process to end. The first request drains, the second stops at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRequest(pub &'static str);

#[derive(Debug)]
struct Task {
    name: Cow<'static, str>,
    until: Until,
    handle: AbortHandle,
}

/// The owner of all long-lived tasks.
#[derive(Debug)]
pub struct Supervisor {
    signals: Signals,
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, Task>,
    stop_limit: Duration,
    close_limit: Duration,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            signals: Signals::default(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            stop_limit: STOP_LIMIT,
            close_limit: CLOSE_LIMIT,
        }
    }
}

impl Supervisor {
    /// Without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The signals, to hand to tasks and listeners.
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Starts a task that takes in work: at the drain signal it ends as soon as its begun work is done.
    /// The drain lasts until all of these have ended.
    pub fn spawn<F>(&mut self, name: impl Into<Cow<'static, str>>, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(name.into(), Until::Drained, task);
    }

    /// Starts a task that others need while they finish their work: it goes on until the stop signal.
    pub fn spawn_until_stop<F>(&mut self, name: impl Into<Cow<'static, str>>, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(name.into(), Until::Stopped, task);
    }

    /// Starts a task that answers callers: it goes on until all others have ended, then listens for `close` and
    /// `abort`.
    pub fn spawn_until_exit<F>(&mut self, name: impl Into<Cow<'static, str>>, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(name.into(), Until::Closed, task);
    }

    fn start<F>(&mut self, name: Cow<'static, str>, until: Until, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let handle = self.tasks.spawn(async { task.await.into_result() });
        let task = Task {
            name,
            until,
            handle: handle.clone(),
        };
        self.names.insert(handle.id(), task);
    }

    /// Watches the tasks until somebody asks for the end or one of them dies, then ends all. An error
    /// names the task that died; the process should exit with it and leave the restart to systemd.
    ///
    /// `requests` may close: then only the death of a task ends the daemon.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<EndRequest>,
        drain_limit: Duration,
    ) -> Result<(), Error> {
        let failure = tokio::select! {
            request = next(&mut requests) => {
                tracing::info!(request = request.0, "draining: nothing new is begun");
                None
            }
            failure = self.first_death() => {
                tracing::error!(error = %Chain(&failure), "draining: a task died");
                Some(failure)
            }
        };
        let limit = if failure.is_some() {
            drain_limit.min(DRAIN_LIMIT_AFTER_FAILURE)
        } else {
            drain_limit
        };
        self.shutdown(requests, limit).await;
        failure.map_or(Ok(()), Err)
    }

    /// Drains, stops, closes. Returns when no task is left.
    async fn shutdown(&mut self, mut requests: mpsc::Receiver<EndRequest>, drain_limit: Duration) {
        systemd::stopping();
        let Signals {
            drain,
            stop,
            close,
            abort,
        } = self.signals.clone();
        drain.cancel();
        let drained = [Until::Drained];
        if !self.ended(&drained, drain_limit, &mut requests).await {
            tracing::warn!(tasks = self.left_names(&drained), "drain limit reached");
        }

        stop.cancel();
        let stopped = [Until::Drained, Until::Stopped];
        if !self.ended(&stopped, self.stop_limit, &mut requests).await {
            self.drop_tasks(&stopped).await;
        }

        close.cancel();
        let all = [Until::Drained, Until::Stopped, Until::Closed];
        if !self.ended(&all, self.close_limit, &mut requests).await {
            tracing::warn!(
                tasks = self.left_names(&all),
                "questions of callers are not answered in time and are broken off"
            );
        }
        abort.cancel();
        if !self.ended(&all, self.stop_limit, &mut requests).await {
            self.drop_tasks(&all).await;
        }
        tracing::info!("stopped");
    }

    /// Waits until no task of these kinds is left. `false`: the limit was reached. Being asked again shortens this and
    /// everything after it.
    async fn ended(
        &mut self,
        kinds: &[Until],
        limit: Duration,
        requests: &mut mpsc::Receiver<EndRequest>,
    ) -> bool {
        let deadline = Instant::now() + limit;
        while self.names.values().any(|task| kinds.contains(&task.until)) {
            tokio::select! {
                Some(()) = self.reap() => {}
                () = sleep_until(deadline) => return false,
                request = next(requests) => {
                    tracing::warn!(request = request.0, "asked again: stopping at once");
                    let Signals { drain, stop, close, abort } = &self.signals;
                    for signal in [drain, stop, close, abort] {
                        signal.cancel();
                    }
                    return true;
                }
            }
        }
        true
    }

    /// Drops tasks of these kinds where they are.
    async fn drop_tasks(&mut self, kinds: &[Until]) {
        tracing::warn!(
            tasks = self.left_names(kinds),
            "dropping tasks that do not stop"
        );
        for task in self.names.values() {
            if kinds.contains(&task.until) {
                task.handle.abort();
            }
        }
        while self.names.values().any(|task| kinds.contains(&task.until)) {
            if self.reap().await.is_none() {
                break;
            }
        }
    }

    /// How the first task ended that was not asked to. Waits for ever without tasks.
    async fn first_death(&mut self) -> Error {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (task, result) = self.named(ended);
        result.err().unwrap_or(Error::Ended { task })
    }

    /// Takes one task that ended during the shutdown. It was asked to, so only a failure is news.
    async fn reap(&mut self) -> Option<()> {
        let ended = self.tasks.join_next_with_id().await?;
        let (task, result) = self.named(ended);
        match result {
            Ok(()) | Err(Error::Dropped { .. }) => tracing::debug!(task, "task ended"),
            Err(error) => tracing::error!(error = %Chain(&error), "a task died while ending"),
        }
        Some(())
    }

    fn named(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
    ) -> (String, Result<(), Error>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id);
        let task = task.map_or_else(|| "?".to_owned(), |task| task.name.into_owned());
        let result = match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(source))) => Err(Error::Failed {
                task: task.clone(),
                source,
            }),
            Err(error) if error.is_cancelled() => Err(Error::Dropped { task: task.clone() }),
            Err(error) => Err(Error::Panicked {
                task: task.clone(),
                message: panic_message(error),
            }),
        };
        (task, result)
    }

    fn left_names(&self, kinds: &[Until]) -> String {
        let left = self
            .names
            .values()
            .filter(|task| kinds.contains(&task.until));
        let names: Vec<&str> = left.map(|task| &*task.name).collect();
        names.join(", ")
    }
}

async fn next(requests: &mut mpsc::Receiver<EndRequest>) -> EndRequest {
    match requests.recv().await {
        Some(request) => request,
        None => std::future::pending().await,
    }
}

fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => panic_text(&*payload).to_owned(),
        Err(_) => "cancelled".to_owned(),
    }
}

/// Turns SIGTERM and SIGINT of this process into requests.
pub fn os_signals() -> std::io::Result<mpsc::Receiver<EndRequest>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(2);
    // Lives as long as the process; ends by itself when nobody listens any more.
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                _ = terminate.recv() => EndRequest("SIGTERM"),
                _ = interrupt.recv() => EndRequest("SIGINT"),
            };
            if sender.send(request).await.is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn requests() -> (mpsc::Sender<EndRequest>, mpsc::Receiver<EndRequest>) {
        mpsc::channel(2)
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_ends_the_daemon_by_name() {
        let mut supervisor = Supervisor::new();
        let stop = supervisor.signals().stop;
        supervisor.spawn("agi", async {});
        supervisor.spawn_until_stop("sweep", stop.cancelled_owned());
        let error = supervisor.run(requests().1, LONG).await.unwrap_err();
        assert!(matches!(error, Error::Ended { task } if task == "agi"));
    }

    #[tokio::test]
    async fn a_panic_ends_the_daemon_by_name() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("agi", async { assert_eq!(1, 2, "odd") });
        let error = supervisor.run(requests().1, LONG).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("task `agi` panicked: "), "{text}");
        assert!(text.contains("odd"), "{text}");
    }

    #[tokio::test]
    async fn an_error_ends_the_daemon_with_its_cause() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn(String::from("ari:pbx1"), async {
            Err(std::io::Error::other("socket gone"))
        });
        let error = supervisor.run(requests().1, LONG).await.unwrap_err();
        let text = Chain(&error).to_string();
        assert_eq!(text, "task `ari:pbx1` failed: socket gone");
    }

    #[tokio::test]
    async fn the_first_request_lets_begun_work_end_and_the_others_go_on_till_then() {
        let mut supervisor = Supervisor::new();
        let Signals { drain, stop, .. } = supervisor.signals();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let (draining, seen) = tokio::sync::oneshot::channel::<()>();
        supervisor.spawn("agi", async move {
            drain.cancelled().await;
            draining.send(()).unwrap();
            finished.await.unwrap();
        });
        let sweep = stop.clone();
        supervisor.spawn_until_stop("sweep", async move { sweep.cancelled().await });

        let (sender, receiver) = requests();
        let run = tokio::spawn(supervisor.run(receiver, LONG));
        sender.send(EndRequest("test")).await.unwrap();
        seen.await.unwrap();
        assert!(!stop.is_cancelled());
        finish.send(()).unwrap();
        run.await.unwrap().unwrap();
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn those_who_answer_callers_go_on_until_all_others_have_ended() {
        let mut supervisor = Supervisor::new();
        let Signals { stop, close, .. } = supervisor.signals();
        let (seen, mut order) = tokio::sync::mpsc::unbounded_channel();
        let saw = seen.clone();
        let last = close.clone();
        supervisor.spawn_until_exit("agi", async move {
            last.cancelled().await;
            saw.send("agi").unwrap();
        });
        let saw = seen.clone();
        let others_go_on = close.clone();
        supervisor.spawn_until_stop("sweep", async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!others_go_on.is_cancelled());
            saw.send("sweep").unwrap();
        });
        supervisor.spawn("http", async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!close.is_cancelled());
            seen.send("http").unwrap();
        });
        let (sender, receiver) = requests();
        sender.send(EndRequest("test")).await.unwrap();
        supervisor.run(receiver, LONG).await.unwrap();
        let mut ended = Vec::new();
        while let Ok(task) = order.try_recv() {
            ended.push(task);
        }
        assert_eq!(ended, ["http", "sweep", "agi"]);
    }

    #[tokio::test]
    async fn a_question_that_has_no_end_is_broken_off() {
        let mut supervisor = Supervisor {
            close_limit: Duration::from_millis(20),
            ..Supervisor::default()
        };
        let abort = supervisor.signals().abort;
        supervisor.spawn_until_exit("agi", async move { abort.cancelled().await });
        let (sender, receiver) = requests();
        sender.send(EndRequest("test")).await.unwrap();
        supervisor.run(receiver, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn the_second_request_stops_at_once() {
        let mut supervisor = Supervisor::new();
        let stop = supervisor.signals().stop;
        supervisor.spawn("agi", async move { stop.cancelled().await });
        let (sender, receiver) = requests();
        sender.send(EndRequest("first")).await.unwrap();
        sender.send(EndRequest("second")).await.unwrap();
        supervisor.run(receiver, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_dropped_at_the_limits() {
        let mut supervisor = Supervisor {
            stop_limit: Duration::from_millis(20),
            ..Supervisor::default()
        };
        let (guard, dropped) = tokio::sync::oneshot::channel::<()>();
        supervisor.spawn("stuck", async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let (sender, receiver) = requests();
        sender.send(EndRequest("test")).await.unwrap();
        let begin = Instant::now();
        let limit = Duration::from_millis(30);
        supervisor.run(receiver, limit).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert!(dropped.await.is_err(), "the task was dropped");
    }
}
