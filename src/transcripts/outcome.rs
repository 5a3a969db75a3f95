//! How the work on a job ends: its transcript kept, or written down why there is none.
//!
//! Invariant: only what lies with the job itself counts as one of its attempts, and everything comes to an end.

use std::time::Duration;

use capconduit_transcriber_protocol::FailureCode;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::files;
use super::process::{Death, StartError};
use super::slot::Slot;
use super::store::jobs::{ClaimedJob, Failure, Lease};
use super::store::transcripts::NewTranscript;
use crate::runtime::clock::now;
use crate::runtime::metrics;
use crate::runtime::telemetry::Chain;

/// First pause of a job that was no fault of its own cut off.
const SHORT_PAUSE: Duration = Duration::from_secs(2);

/// How long a result is held while the database is away.
const RESULT_LIMIT: Duration = Duration::from_secs(600);

/// Longest message kept with a job.
const MAX_MESSAGE: usize = 1_000;

/// Why an attempt came to nothing.
pub(super) enum Trouble {
    /// The recording is gone.
    Gone,
    /// There is no transcriber.
    Start(StartError),
    /// The transcriber went away.
    Death(Death),
    /// It took too long.
    TimeLimit(Duration),
    /// The files cannot be had.
    Files(files::Error),
    /// There are none.
    NoFiles,
    /// The transcriber's own answer.
    Refused(FailureCode, String),
    /// The database's.
    Store(crate::db::Error),
}

impl Slot {
    pub(super) async fn finish(&self, lease: &Lease, transcript: &NewTranscript, took: Duration) {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        let error = loop {
            let finished = self
                .context
                .store
                .finish_job(lease, now(), transcript)
                .await;
            match finished {
                Ok(true) => {
                    let audio = Duration::from_millis(transcript.audio_ms);
                    metrics::transcription_audio(audio);
                    info!(job.id = %lease.job_id, recording.id = %lease.recording_id,
                        audio_ms = transcript.audio_ms, duration_ms = took.as_millis() as u64,
                        segments = transcript.segments.len(), "transcribed");
                    return;
                }
                Ok(false) => {
                    info!(job.id = %lease.job_id,
                        "a transcript is dropped: the job was taken away or the recording deleted");
                    // Nobody else's by now; if it is ours still, the recording is gone.
                    let _ = self.context.store.drop_job(lease, now()).await;
                    return;
                }
                Err(error) if error.is_lost_connection() || error.is_overload() => {
                    if begun.elapsed() > RESULT_LIMIT || self.stop.is_cancelled() {
                        break error;
                    }
                    tokio::select! {
                        () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                        () = self.stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) => break error,
            }
        };
        error!(job.id = %lease.job_id, error = %Chain(&error), "a transcript cannot be stored");
        let message = Chain(&error).to_string();
        self.put_down(
            lease,
            "not_stored",
            &message,
            false,
            false,
            self.context.settings.first_pause,
        )
        .await;
    }

    pub(super) async fn fail(&mut self, job: &ClaimedJob, trouble: Trouble) {
        let lease = &job.lease;
        let models = &self.context.models;
        let languages = job.language.languages();
        let mut pause = self.context.settings.first_pause;
        let (mut permanent, mut free) = (false, false);
        let (code, message) = match trouble {
            Trouble::Gone => return,
            Trouble::Start(error) => {
                (free, pause) = (true, SHORT_PAUSE);
                self.pause.lengthen();
                ("no_transcriber", Chain(&error).to_string())
            }
            Trouble::Death(death) => {
                let code = match death {
                    Death::Killed(_) => {
                        (free, pause) = (true, SHORT_PAUSE);
                        "worker_killed"
                    }
                    Death::Crashed(_) => "worker_crashed",
                    Death::Silent(_) => "worker_hung",
                    Death::Protocol(_) => "worker_fault",
                };
                if !free {
                    models.blame(languages, lease.job_id);
                }
                (code, death.to_string())
            }
            Trouble::TimeLimit(limit) => {
                let problem = format!(
                    "transcribing took longer than the {} s it may: raise transcription.time_factor, or use a \
                     smaller model",
                    limit.as_secs()
                );
                ("time_limit", problem)
            }
            Trouble::Files(error) => {
                if !error.is_of_recording() {
                    free = true;
                    self.pause.lengthen();
                }
                ("unreadable", Chain(&error).to_string())
            }
            Trouble::NoFiles => {
                permanent = true;
                (
                    "no_files",
                    "the recording has no file of caller or agent".to_owned(),
                )
            }
            Trouble::Refused(code, message) => {
                permanent = !code.may_pass();
                if code == FailureCode::ModelUnusable {
                    (free, pause) = (true, SHORT_PAUSE);
                    models.distrust(job.language, &message);
                }
                (code.as_str(), message)
            }
            Trouble::Store(error) => {
                (free, pause) = (true, SHORT_PAUSE);
                self.pause.lengthen();
                ("database", Chain(&error).to_string())
            }
        };
        self.put_down(lease, code, &message, permanent, free, pause)
            .await;
    }

    /// Writes down that an attempt came to nothing.
    async fn put_down(
        &self,
        lease: &Lease,
        code: &'static str,
        message: &str,
        permanent: bool,
        free: bool,
        pause: Duration,
    ) {
        metrics::transcription_failure(code);
        let message: String = message.chars().take(MAX_MESSAGE).collect();
        let failure = Failure {
            code,
            message: &message,
            permanent,
            free,
        };
        match self
            .context
            .store
            .fail_job(lease, now(), &failure, pause)
            .await
        {
            Ok(state) => {
                let state = state.as_deref().unwrap_or("taken away");
                warn!(job.id = %lease.job_id, recording.id = %lease.recording_id, job.attempt = lease.attempt,
                    state, code, reason = message, "a recording was not transcribed");
            }
            // Its lease runs out.
            Err(error) => {
                warn!(job.id = %lease.job_id, code, reason = message, error = %Chain(&error),
                "a recording was not transcribed, and that cannot be put down");
            }
        }
    }
}
