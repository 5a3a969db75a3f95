//! A place for one transcriber: takes jobs one after the other, has them done, and puts down how they ended.
//!
//! Invariants: whatever becomes of the transcriber, the job it had is finished, put back, or failed by whoever holds
//! its lease; and a process that was left in the middle of a job is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use capconduit_transcriber_protocol::{FailureCode, Job, Track};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::files;
use super::outcome::Trouble;
use super::process::{Death, Process, StartError};
use super::session::{Hearing, LOAD_LIMIT, Step};
use super::store::jobs::{ClaimedJob, JobFiles, Lease};
use super::store::transcripts::NewTranscript;
use super::{Context, WorkerState};
use crate::domain::mask;
use crate::runtime::clock::now;
use crate::runtime::telemetry::Chain;

/// A transcriber that did so many jobs is replaced: whatever it leaks goes with it.
const JOBS_OF_A_PROCESS: u32 = 200;

/// A transcriber without work for so long is ended: its models take memory.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What a job may take besides the time for its audio.
const TIME_TO_SPARE: Duration = Duration::from_secs(60);

/// How long a claim may take.
const CLAIM_LIMIT: Duration = Duration::from_secs(10);

/// How long putting a job back may hold up the end of the daemon.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(2);

/// Longest pause after something other than the job went wrong.
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Slot {
    pub(super) context: Arc<Context>,
    /// For the metrics, a [`WorkerState`].
    state: Arc<AtomicU8>,
    pub(super) stop: CancellationToken,
    worker: Option<Worker>,
    pub(super) pause: Pause,
}

struct Worker {
    process: Process,
    generation: u64,
    jobs: u32,
}

enum Next {
    Job(ClaimedJob),
    Idle,
    Stop,
}

/// How the work on a job ended.
enum Ended {
    Heard(NewTranscript),
    Trouble(Trouble),
    LeaseLost,
    Stopped,
}

impl Slot {
    pub(super) fn new(
        context: Arc<Context>,
        state: Arc<AtomicU8>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            context,
            state,
            stop,
            worker: None,
            pause: Pause::default(),
        }
    }

    /// Works until `stop`.
    pub(super) async fn run(mut self) {
        loop {
            self.show(WorkerState::Idle);
            let idle_until = self.worker.as_ref().map(|_| Instant::now() + IDLE_LIMIT);
            match self.next_job(idle_until).await {
                Next::Stop => break,
                Next::Idle => self.end_worker().await,
                Next::Job(job) => {
                    self.show(WorkerState::Busy);
                    self.work(&job).await;
                }
            }
            let pause = self.pause.take();
            if !pause.is_zero() {
                self.show(WorkerState::Down);
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.stop.cancelled() => break,
                }
            }
        }
        self.end_worker().await;
    }

    fn show(&self, state: WorkerState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    async fn end_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.process.kill().await;
        }
    }

    /// Waits for a job. One slot of the daemon asks the database at a time.
    async fn next_job(&self, idle_until: Option<Instant>) -> Next {
        let idle = async {
            match idle_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(idle);
        let context = &self.context;
        let _turn = tokio::select! {
            turn = context.turn.acquire() => turn,
            () = &mut idle => return Next::Idle,
            () = self.stop.cancelled() => return Next::Stop,
        };
        let mut view = context.models.view();
        let mut failing = false;
        loop {
            let languages = view.borrow_and_update().languages();
            let mut wait = context.settings.poll;
            if self.stop.is_cancelled() {
                return Next::Stop;
            }
            if !languages.is_empty() {
                let now = now();
                let until = now + context.settings.lease;
                let node = &context.settings.node;
                let claim = context.store.claim_job(&languages, node, now, until);
                // Dropped in the middle of it, a job might be ours that nobody works on.
                match timeout(CLAIM_LIMIT, claim).await {
                    Ok(Ok(Some(job))) => return Next::Job(job),
                    Ok(Ok(None)) => failing = false,
                    Ok(Err(problem)) => {
                        if !failing {
                            warn!(error = %Chain(&problem), "no job can be taken; it is tried again");
                        }
                        failing = true;
                    }
                    Err(_) => failing = true,
                }
                if failing {
                    wait *= 5;
                }
            }
            tokio::select! {
                () = sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                changed = view.changed() => if changed.is_err() { return Next::Stop },
                () = &mut idle => return Next::Idle,
                () = self.stop.cancelled() => return Next::Stop,
            }
        }
    }

    async fn work(&mut self, job: &ClaimedJob) {
        let lease = &job.lease;
        debug!(job.id = %lease.job_id, recording.id = %lease.recording_id, job.attempt = lease.attempt,
            "transcribing");
        let begun = Instant::now();
        let progress = AtomicU64::new(0);
        let context = Arc::clone(&self.context);
        let stop = self.stop.clone();
        let ended = tokio::select! {
            done = self.transcribe(job, &progress) => match done {
                Ok(transcript) => Ended::Heard(transcript),
                Err(trouble) => Ended::Trouble(trouble),
            },
            () = keep_lease(&context, lease, &progress) => Ended::LeaseLost,
            () = stop.cancelled() => Ended::Stopped,
        };
        match ended {
            Ended::Heard(transcript) => {
                self.pause.reset();
                context.models.praise(job.language.languages());
                self.finish(lease, &transcript, begun.elapsed()).await;
            }
            Ended::Trouble(Trouble::Gone) => {
                let dropped = context.store.drop_job(lease, now()).await;
                if let Err(error) = dropped {
                    warn!(job.id = %lease.job_id, error = %Chain(&error), "a job without recording cannot be dropped");
                }
            }
            Ended::Trouble(trouble) => self.fail(job, trouble).await,
            Ended::LeaseLost => {
                // Somebody cancelled it, or thought us gone.
                info!(job.id = %lease.job_id, "a job was taken away: its transcript is dropped");
                self.end_worker().await;
            }
            Ended::Stopped => {
                self.end_worker().await;
                let given = context.store.give_back_job(lease, now());
                match timeout(GIVE_BACK_LIMIT, given).await {
                    Ok(Ok(_)) => debug!(job.id = %lease.job_id, "job put back"),
                    _ => {
                        warn!(job.id = %lease.job_id, "a job cannot be put back; its lease runs out");
                    }
                }
            }
        }
    }

    async fn transcribe(
        &mut self,
        job: &ClaimedJob,
        progress: &AtomicU64,
    ) -> Result<NewTranscript, Trouble> {
        let context = Arc::clone(&self.context);
        let recording = job.lease.recording_id;
        let found = context.store.job_files(recording).await;
        let found = found.map_err(Trouble::Store)?.ok_or(Trouble::Gone)?;
        if found.legs.is_empty() {
            return Err(Trouble::NoFiles);
        }
        let files = files::fetch(&context.storage, &found).await;
        let files = files.map_err(Trouble::Files)?;
        let mut request = Job {
            job: job.lease.job_id.0,
            languages: job
                .language
                .languages()
                .iter()
                .map(ToString::to_string)
                .collect(),
            tracks: files
                .legs
                .iter()
                .map(|(speaker, path)| Track {
                    path: path.clone(),
                    channel: 0,
                    speaker: speaker.to_string(),
                })
                .collect(),
            max_seconds: u32::try_from(context.settings.max_audio.as_secs()).unwrap_or(u32::MAX),
        };
        let process = &mut self.worker().await.map_err(Trouble::Start)?.process;
        let laid = process.lay_out(&mut request.tracks).await;
        let laid = laid.map_err(|source| {
            let path = std::env::temp_dir();
            Trouble::Files(files::Error::Copies { path, source })
        })?;
        let mut limit = time_limit(&context.settings, &found, &request);
        if !process.has_loaded(&request.languages) {
            limit += LOAD_LIMIT;
        }
        let heard = timeout(limit, listen(process, request, progress)).await;
        let engine_version = process.engine_version.clone();
        let heard = match heard {
            Ok(Ok(heard)) => {
                heard.map_err(|(code, message)| Trouble::Refused(code, laid.told(&message)))?
            }
            // In both cases it may still be at it.
            Ok(Err(death)) => {
                self.end_worker().await;
                return Err(Trouble::Death(death));
            }
            Err(_) => {
                self.end_worker().await;
                return Err(Trouble::TimeLimit(limit));
            }
        };
        let mut segments = heard.segments;
        let masked = found.mask_numbers && mask::mask(&mut segments);
        Ok(NewTranscript {
            engine: "vosk",
            engine_version,
            models: heard.models,
            audio_ms: heard.audio_ms,
            masked,
            segments,
        })
    }

    /// The transcriber of this slot, for one more job. Whoever leaves it in the middle of that ends it.
    async fn worker(&mut self) -> Result<&mut Worker, StartError> {
        let view = self.context.models.view().borrow().clone();
        let fresh = self.worker.as_mut().is_some_and(|worker| {
            let fresh = worker.generation == view.generation && worker.jobs < JOBS_OF_A_PROCESS;
            fresh && !worker.process.is_gone()
        });
        if !fresh {
            self.end_worker().await;
        }
        let worker = if let Some(worker) = self.worker.take() {
            worker
        } else {
            let started = Process::start(&self.context.settings.program, &view.usable()).await;
            if let Err(error) = &started {
                self.context.models.without_worker(error);
            }
            let process = started?;
            debug!(process = process.id(), "a transcriber is up");
            Worker {
                process,
                generation: view.generation,
                jobs: 0,
            }
        };
        let worker = self.worker.insert(worker);
        worker.jobs += 1;
        Ok(worker)
    }
}

/// Extends the lease until it is lost.
async fn keep_lease(context: &Context, lease: &Lease, progress: &AtomicU64) {
    loop {
        sleep(context.settings.lease / 4).await;
        let until = now() + context.settings.lease;
        let heard = Duration::from_millis(progress.load(Ordering::Relaxed));
        match context.store.extend_lease(lease, until, heard).await {
            Ok(true) => {}
            Ok(false) => return,
            // Nobody can take it while the database is away, and it is ours if nobody has.
            Err(error) => {
                debug!(job.id = %lease.job_id, error = %Chain(&error), "a lease cannot be extended");
            }
        }
    }
}

async fn listen(
    process: &mut Process,
    job: Job,
    progress: &AtomicU64,
) -> Result<Result<super::session::Heard, (FailureCode, String)>, Death> {
    let mut hearing = Hearing::begin(process, job).await?;
    loop {
        match hearing.next().await? {
            Step::Progress { heard, .. } => {
                progress.store(heard.as_millis() as u64, Ordering::Relaxed);
            }
            Step::Utterance => {}
            Step::Done(heard) => return Ok(Ok(heard)),
            Step::Failed { code, message } => return Ok(Err((code, message))),
        }
    }
}

/// How long a job may take: each track is listened to, once for each language.
fn time_limit(settings: &super::Settings, files: &JobFiles, job: &Job) -> Duration {
    let audio = files
        .duration
        .unwrap_or(settings.max_audio)
        .min(settings.max_audio);
    let times = job.tracks.len() * job.languages.len() * settings.time_factor as usize;
    TIME_TO_SPARE + audio * times as u32
}

/// How long a slot rests after something went wrong that no job is to blame for.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Duration,
    next: Duration,
}

impl Pause {
    pub(super) fn lengthen(&mut self) {
        self.last = (self.last * 2).clamp(Duration::from_secs(1), MAX_PAUSE);
        self.next = self.last.mul_f64(0.5 + fastrand::f64() / 2.0);
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self) -> Duration {
        std::mem::take(&mut self.next)
    }
}
