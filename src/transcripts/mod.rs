//! Transcripts of recordings: jobs are taken from the queue and done by transcriber processes.
//!
//! It knows no telephony. Invariants: a recording gets one transcript, whoever dies when; what goes wrong here costs
//! an attempt of a job at most, and nothing of a call.

pub mod api;
mod desk;
mod files;
pub mod models;
mod outcome;
pub mod process;
pub mod session;
mod slot;
pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use crate::db::Store;
use crate::recordings::object_storage::Storage;
use crate::runtime::clock::now;
use crate::runtime::metrics;
use crate::runtime::telemetry::Chain;
use models::{ModelState, Models, Places, View};
use process::Program;
use slot::Slot;

/// How long a slot that broke down rests.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// What this daemon's part in transcribing is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this daemon.
    pub node: String,
    /// The transcriber's program.
    pub program: Program,
    /// Where models are.
    pub places: Places,
    /// Transcribers at once.
    pub workers: usize,
    /// Longest recording transcribed.
    pub max_audio: Duration,
    /// How long transcribing may take, in lengths of the audio.
    pub time_factor: u32,
    /// How the work is paced.
    pub poll: Duration,
    /// How long a job is ours without a word from us.
    pub lease: Duration,
    /// First pause of a job after an attempt that came to nothing.
    pub first_pause: Duration,
    /// How often lost jobs are looked for and jobs are counted.
    pub rounds: Duration,
    /// How often models that cannot be used are tried again.
    pub try_models: Duration,
}

impl Settings {
    /// With the usual pace.
    pub fn new(node: &str, program: Program, places: Places) -> Self {
        Self {
            node: node.to_owned(),
            program,
            places,
            workers: 1,
            max_audio: Duration::from_secs(4 * 3_600),
            time_factor: 2,
            poll: Duration::from_secs(1),
            lease: Duration::from_secs(60),
            first_pause: Duration::from_secs(15),
            rounds: Duration::from_secs(10),
            try_models: Duration::from_secs(60),
        }
    }
}

/// How transcription stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Models are being tried.
    Starting,
    /// No model is installed.
    NotUsed,
    /// It does its work.
    Ready,
    /// Some or all recordings wait; why.
    Degraded(String),
}

impl Status {
    /// How it stands with these models.
    pub fn of(view: &View) -> Self {
        let states = || view.models.values().map(|(_, state)| state);
        if let Some(problem) = &view.no_worker {
            return Self::Degraded(problem.clone());
        }
        let mut problems = view
            .models
            .iter()
            .filter_map(|(language, (_, state))| match state {
                ModelState::Unusable(problem) => Some(format!("{language}: {problem}")),
                _ => None,
            });
        if let Some(first) = problems.next() {
            return Self::Degraded(problems.fold(first, |all, next| all + "; " + &next));
        }
        if states().any(|state| matches!(state, ModelState::Usable(_))) {
            let lacking = view.lacking();
            if view.complete && !lacking.is_empty() {
                let installs: Vec<String> = lacking
                    .iter()
                    .map(|language| format!("`capconduit model install {language}`"))
                    .collect();
                return Self::Degraded(format!(
                    "recordings wait for a model that is not there: {}",
                    installs.join(", ")
                ));
            }
            Self::Ready
        } else if view.complete {
            Self::NotUsed
        } else {
            Self::Starting
        }
    }
}

/// What a slot's transcriber does, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkerState {
    Idle,
    Busy,
    Down,
}

/// What all slots share.
struct Context {
    settings: Settings,
    store: Store,
    storage: Storage,
    models: Models,
    /// Whoever holds it asks for the next job.
    turn: Semaphore,
}

/// Transcribes recordings.
pub struct Service {
    context: Arc<Context>,
}

impl Service {
    /// Prepares; nothing is begun yet.
    pub fn new(settings: Settings, store: Store, storage: Storage) -> Self {
        let models = Models::new(
            settings.program.clone(),
            settings.places.clone(),
            settings.try_models,
        );
        let context = Context {
            settings,
            store,
            storage,
            models,
            turn: Semaphore::new(1),
        };
        Self {
            context: Arc::new(context),
        }
    }

    /// What is known of the models, and changes of it.
    pub fn view(&self) -> watch::Receiver<View> {
        self.context.models.view()
    }

    /// Transcribes until `stop`; then jobs under way are put back and transcribers ended.
    pub async fn run(self, stop: CancellationToken) {
        // Nothing waits for it.
        drop(tokio::task::spawn_blocking(desk::clear_away));
        let context = self.context;
        let states: Vec<Arc<AtomicU8>> = (0..context.settings.workers)
            .map(|_| Arc::default())
            .collect();
        let mut slots = JoinSet::new();
        for state in &states {
            let (context, state, stop) = (Arc::clone(&context), Arc::clone(state), stop.clone());
            slots.spawn(keep_slot(context, state, stop));
        }
        let rounds =
            async { tokio::join!(context.models.look_after(), keep_rounds(&context, &states)) };
        tokio::select! {
            (never, ()) = rounds => match never {},
            () = stop.cancelled() => {}
        }
        while slots.join_next().await.is_some() {}
    }
}

/// Keeps a slot at work until `stop`, and begins it anew should it panic: that is a fault of ours which costs a job's
/// attempt, and calls must go on being routed.
async fn keep_slot(context: Arc<Context>, state: Arc<AtomicU8>, stop: CancellationToken) {
    loop {
        let slot = Slot::new(Arc::clone(&context), Arc::clone(&state), stop.clone());
        match AbortOnDropHandle::new(tokio::spawn(slot.run())).await {
            Ok(()) => return,
            Err(panic) => {
                error!(error = %panic, "the supervision of a transcriber broke down; it begins anew");
            }
        }
        tokio::select! {
            () = sleep(AFTER_PANIC) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What is looked after besides the jobs of this daemon.
async fn keep_rounds(context: &Context, states: &[Arc<AtomicU8>]) {
    let settings = &context.settings;
    let mut failing = false;
    loop {
        let round = round(context).await;
        if let Err(problem) = &round
            && !failing
        {
            warn!(error = %Chain(problem), "lost jobs cannot be looked for; it is tried again");
        }
        failing = round.is_err();
        let no_worker = context.models.view().borrow().no_worker.is_some();
        let mut counts = [0; 3];
        for state in states {
            let mut state = state.load(Ordering::Relaxed);
            if no_worker && state == WorkerState::Idle as u8 {
                state = WorkerState::Down as u8;
            }
            counts[usize::from(state).min(2)] += 1;
        }
        metrics::transcription_workers(counts[0], counts[1], counts[2]);
        sleep(settings.rounds.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

async fn round(context: &Context) -> Result<(), crate::db::Error> {
    let rescued = context
        .store
        .rescue_jobs(now(), context.settings.first_pause)
        .await?;
    for job in rescued {
        metrics::transcription_failure("worker_lost");
        warn!(job.id = %job.job_id, node = job.node, failed = job.failed,
            "a daemon was not heard of any more in the middle of a job");
    }
    for (state, jobs) in context.store.count_jobs().await? {
        metrics::transcription_jobs(state, jobs);
    }
    let waiting = context.store.waiting_languages().await?;
    context.models.note_waiting(waiting);
    Ok(())
}
