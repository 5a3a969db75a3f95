//! Who may work on passwords when: few at once, a bounded queue, memory that is taken once and kept.
//!
//! A fresh 19 MiB for each hash would leave the allocator with holes that never fit again, so each thread that hashes
//! keeps its own block of memory for good. The threads give way to everything else: calls come first. Invariant:
//! however many logins come, no more than [`workers`] hashes are at work, and no more than [`WAITING`] wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Logins that may wait for their turn.
pub const WAITING: usize = 32;

/// Longest wait for a turn.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How much the threads give way to others, as `nice` counts.
const NICE: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// Hashes at work at once: half of the cores, so that calls always find one.
pub fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    (cores / 2).max(1)
}

struct Turns {
    at_work: Arc<Semaphore>,
    /// At work or waiting.
    places: Arc<Semaphore>,
    jobs: Sender<Job>,
}

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let (jobs, waiting) = channel::<Job>();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..workers() {
        let waiting = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("passwords".into());
        if let Err(error) = thread.spawn(move || work_off(&waiting)) {
            tracing::error!(%error, "a thread for passwords cannot be started");
        }
    }
    Turns {
        at_work: Arc::new(Semaphore::new(workers())),
        places: Arc::new(Semaphore::new(workers() + WAITING)),
        jobs,
    }
});

/// The life of a thread that hashes. The daemon never ends it.
fn work_off(jobs: &Mutex<Receiver<Job>>) {
    // On Linux this is of the thread alone. Without it logins only compete with calls.
    let _ = rustix::process::nice(NICE);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The hook of a panic has logged it; whoever waits sees that no answer comes.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Too many wait already, or this one waited too long. Also where the work panicked, which the log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be looked at")]
pub struct Overloaded;

/// A place among the few that may work on passwords at once. It is kept while the work goes on, also when nobody waits
/// for it any more.
#[derive(Debug)]
pub struct Turn {
    began: Instant,
    _at_work: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// Waits for a turn.
pub async fn turn() -> Result<Turn, Overloaded> {
    let place = Arc::clone(&TURNS.places).try_acquire_owned();
    let place = place.map_err(|_| Overloaded)?;
    let permit = Arc::clone(&TURNS.at_work).acquire_owned();
    match tokio::time::timeout(LONGEST_WAIT, permit).await {
        Ok(Ok(permit)) => Ok(Turn {
            began: Instant::now(),
            _at_work: permit,
            _place: place,
        }),
        // The semaphore is never closed.
        Ok(Err(_)) | Err(_) => Err(Overloaded),
    }
}

impl Turn {
    /// When the turn came.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Runs work on passwords where it blocks nobody.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Self), Overloaded> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            let done = work();
            // Where nobody listens any more the turn ends here, not before.
            let _ = answer.send((done, self));
        });
        TURNS.jobs.send(job).map_err(|_| Overloaded)?;
        answered.await.map_err(|_| Overloaded)
    }
}

/// Runs work on passwords where it blocks nobody, a few at a time.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Overloaded> {
    let (done, _turn) = turn().await?.run(work).await?;
    Ok(done)
}
