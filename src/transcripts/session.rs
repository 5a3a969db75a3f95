//! One job's conversation with a transcriber, from the request to the last answer.

use std::collections::BTreeMap;
use std::time::Duration;

use capconduit_transcriber_protocol::{Answer, FailureCode, Job, Request};
use tokio::time::Instant;

use super::process::{Death, Process};
use crate::domain::transcript::merge;
use crate::domain::{Language, Segment, Speaker, Word};

/// How long a transcriber may say nothing while it loads a model: gigabytes from a slow disk.
pub const LOAD_LIMIT: Duration = Duration::from_secs(180);

/// How long it may say nothing while it listens. It says how far it is every second or so.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// More words than anybody says in a day; keeps memory bounded.
const MAX_WORDS: usize = 1_000_000;

/// A job in a transcriber's ear.
#[derive(Debug)]
pub struct Hearing<'a> {
    process: &'a mut Process,
    job: i64,
    speakers: Vec<String>,
    languages: Vec<String>,
    segments: Vec<Segment>,
    words: usize,
    warm: bool,
    last_answer: Instant,
}

/// What a transcriber has said.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It has listened to so much, of so much.
    Progress {
        /// Heard so far, all tracks together.
        heard: Duration,
        /// In all.
        total: Duration,
    },
    /// Somebody said something.
    Utterance,
    /// That is all.
    Done(Heard),
    /// The job cannot be done.
    Failed {
        /// Why, for programs.
        code: FailureCode,
        /// Why, for people.
        message: String,
    },
}

/// What there was to hear.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Who said what, in the order of time.
    pub segments: Vec<Segment>,
    /// Length of the longest track, in milliseconds.
    pub audio_ms: u64,
    /// Name of the model of each language.
    pub models: BTreeMap<String, String>,
}

impl<'a> Hearing<'a> {
    /// Asks for a transcript.
    pub async fn begin(process: &'a mut Process, job: Job) -> Result<Self, Death> {
        let hearing = Self {
            job: job.job,
            speakers: job.tracks.iter().map(|t| t.speaker.clone()).collect(),
            languages: job.languages.clone(),
            segments: Vec::new(),
            words: 0,
            warm: process.has_loaded(&job.languages),
            last_answer: Instant::now(),
            process,
        };
        hearing.process.ask(&Request::Transcribe(job)).await?;
        Ok(hearing)
    }

    /// What comes next. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Step, Death> {
        let limit = if self.warm { SILENCE_LIMIT } else { LOAD_LIMIT };
        let left = limit.saturating_sub(self.last_answer.elapsed());
        let answer = self.process.answer_within(left).await;
        let answer = answer.map_err(|death| match death {
            Death::Silent(_) => Death::Silent(limit),
            other => other,
        })?;
        self.last_answer = Instant::now();
        self.step(answer)
    }

    fn step(&mut self, answer: Answer) -> Result<Step, Death> {
        let job = match &answer {
            Answer::Ready { .. } => None,
            Answer::Progress { job, .. }
            | Answer::Utterance { job, .. }
            | Answer::Done { job, .. }
            | Answer::Failed { job, .. } => Some(*job),
        };
        if job != Some(self.job) {
            return Err(Death::Protocol("an answer is about another job".to_owned()));
        }
        Ok(match answer {
            Answer::Ready { .. } => unreachable!("has no job"),
            Answer::Progress {
                audio_ms, total_ms, ..
            } => {
                if audio_ms > 0 {
                    self.loaded();
                }
                Step::Progress {
                    heard: Duration::from_millis(audio_ms),
                    total: Duration::from_millis(total_ms),
                }
            }
            Answer::Utterance {
                speaker,
                language,
                words,
                ..
            } => {
                self.words += words.len();
                let known = self.speakers.contains(&speaker) && self.languages.contains(&language);
                if !known || self.words > MAX_WORDS {
                    let problem = "an utterance is nobody's, of no language, or too many";
                    return Err(Death::Protocol(problem.to_owned()));
                }
                let words = words
                    .into_iter()
                    .map(|word| Word::new(&word.word, word.start_ms, word.end_ms, word.confidence));
                let (speaker, language) = (Speaker::parse(&speaker), Language::parse(&language));
                let segment = Segment::new(speaker, language, words.collect());
                self.segments.extend(segment);
                Step::Utterance
            }
            Answer::Done {
                audio_ms, models, ..
            } => {
                self.loaded();
                Step::Done(Heard {
                    segments: merge(std::mem::take(&mut self.segments)),
                    audio_ms,
                    models,
                })
            }
            Answer::Failed { code, message, .. } => Step::Failed { code, message },
        })
    }

    fn loaded(&mut self) {
        if !self.warm {
            self.warm = true;
            self.process.note_loaded(&self.languages);
        }
    }
}
