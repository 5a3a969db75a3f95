//! Which languages can be transcribed here, found out by having a transcriber try each model.
//!
//! A model that is damaged can end or hang the process that uses it, so it is tried in one of its own before any
//! job is, whenever it changed, and again after a transcriber died. One that passes and still ends transcribers, job
//! after job, is laid aside for a while. Invariant: a job is begun only in languages that are usable.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use capconduit_transcriber_protocol::{Answer, Request};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::process::{Death, Process, Program, StartError};
use super::session::LOAD_LIMIT;
use crate::domain::{JobId, Language, RecordingLanguage};
use crate::runtime::telemetry::Chain;

/// So many different jobs in a row that end their transcriber are the model's fault.
const DEATHS: usize = 3;

/// How long such a model is laid aside at first, and at most.
const LAID_ASIDE: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(2 * 3_600));

/// Where models are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Has a model in a directory by the name of the language.
    pub directory: PathBuf,
    /// Models elsewhere, by language.
    pub named: BTreeMap<String, PathBuf>,
}

impl Places {
    /// Where the model of a language would be, and whether somebody said so.
    pub fn of(&self, language: Language) -> (PathBuf, bool) {
        match self.named.get(language.as_str()) {
            Some(directory) => (directory.clone(), true),
            None => (self.directory.join(language.as_str()), false),
        }
    }
}

/// How a language's model stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// None is installed.
    Absent,
    /// Not tried yet.
    Untried,
    /// It can be used; its name.
    Usable(String),
    /// It cannot; why.
    Unusable(String),
}

/// A problem with trying a model.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no transcriber to try it with.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The transcriber says that it cannot be used.
    #[error("{0}")]
    Refused(String),
    /// It ends or stalls the transcriber.
    #[error("it cannot be used: {0}")]
    Death(#[from] Death),
}

/// Has a transcriber of its own load a model and listen to nothing for a second. Returns the model's name.
pub async fn check(
    program: &Program,
    language: Language,
    directory: &Path,
) -> Result<String, CheckError> {
    let language = language.as_str().to_owned();
    let models = BTreeMap::from([(language.clone(), directory.to_owned())]);
    let mut process = Process::start(program, &models).await?;
    let request = Request::Check {
        job: 0,
        language: language.clone(),
    };
    let answer = async {
        process.ask(&request).await?;
        process.answer_within(LOAD_LIMIT).await
    };
    let answer = answer.await;
    process.kill().await;
    match answer? {
        Answer::Done { models, .. } => Ok(models.get(&language).cloned().unwrap_or_default()),
        Answer::Failed { message, .. } => Err(CheckError::Refused(message)),
        _ => Err(Death::Protocol("another answer than asked for".to_owned()).into()),
    }
}

/// What the kernel lacks to keep transcribers in a sandbox, in words.
pub async fn lacks(
    program: &Program,
    language: Language,
    directory: &Path,
) -> Result<Vec<String>, StartError> {
    let models = BTreeMap::from([(language.as_str().to_owned(), directory.to_owned())]);
    let mut process = Process::start(program, &models).await?;
    let lacks = std::mem::take(&mut process.lacks);
    process.kill().await;
    Ok(lacks)
}

/// What is known of one language.
#[derive(Debug, Clone)]
struct Known {
    directory: PathBuf,
    state: ModelState,
    /// What the directory looked like when it was tried.
    seen: Option<Seen>,
    /// Different jobs in a row in which a transcriber died.
    deaths: BTreeSet<JobId>,
    laid_aside: Option<(Instant, Duration)>,
    /// It has been laid aside before: one death is enough now.
    on_probation: bool,
}

type Seen = (u64, u64, i64, i64);

/// All that is known, for those who use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Grows when another set of models, or a changed one, is to be used.
    pub generation: u64,
    /// By language.
    pub models: BTreeMap<Language, (PathBuf, ModelState)>,
    /// Why no transcriber can be started.
    pub no_worker: Option<String>,
    /// All models have been tried at least once.
    pub complete: bool,
    /// The languages of recordings that wait in the queue.
    pub waiting: Vec<RecordingLanguage>,
}

impl View {
    /// The models that can be used.
    pub fn usable(&self) -> BTreeMap<String, PathBuf> {
        let usable = self.models.iter().filter(|(_, (_, state))| {
            matches!(state, ModelState::Usable(_)) && self.no_worker.is_none()
        });
        usable
            .map(|(language, (directory, _))| (language.to_string(), directory.clone()))
            .collect()
    }

    /// The languages whose model is not there, though a recording waits for it.
    pub fn lacking(&self) -> Vec<Language> {
        let absent = |language: &&Language| {
            let known = self.models.get(language);
            matches!(known, Some((_, ModelState::Absent)))
        };
        let needed = self.waiting.iter().flat_map(|of| of.languages());
        let lacking: BTreeSet<Language> = needed.filter(absent).copied().collect();
        lacking.into_iter().collect()
    }

    /// The languages of recordings that can be transcribed: one that may be in either needs both models.
    pub fn languages(&self) -> Vec<RecordingLanguage> {
        let usable = self.usable();
        let can = |of: &RecordingLanguage| {
            let mut needed = of.languages().iter();
            needed.all(|language| usable.contains_key(language.as_str()))
        };
        RecordingLanguage::ALL.iter().copied().filter(can).collect()
    }
}

/// The models of this daemon.
#[derive(Debug)]
pub struct Models {
    program: Program,
    places: Places,
    every: Duration,
    known: Mutex<BTreeMap<Language, Known>>,
    view: watch::Sender<View>,
    again: Notify,
}

impl Models {
    /// Nothing is known yet. Models that cannot be used are tried again `every` so often.
    pub fn new(program: Program, places: Places, every: Duration) -> Self {
        let known = Language::ALL.iter().map(|language| {
            let known = Known {
                directory: places.of(*language).0,
                state: ModelState::Untried,
                seen: None,
                deaths: BTreeSet::new(),
                laid_aside: None,
                on_probation: false,
            };
            (*language, known)
        });
        Self {
            known: Mutex::new(known.collect()),
            view: watch::Sender::new(View::default()),
            again: Notify::new(),
            program,
            places,
            every,
        }
    }

    /// What is known, and changes of it.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Looks after the models for ever.
    pub async fn look_after(&self) -> std::convert::Infallible {
        loop {
            for language in Language::ALL {
                self.look_at(*language).await;
            }
            self.show(|view| view.complete = true);
            let pause = self.every.mul_f64(0.9 + fastrand::f64() / 5.0);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.again.notified() => {}
            }
        }
    }

    /// A job in these languages ended its transcriber.
    pub fn blame(&self, languages: &[Language], job: JobId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for language in languages {
            let Some(known) = known.get_mut(language) else {
                continue;
            };
            // To be tried again.
            known.seen = None;
            known.deaths.insert(job);
            if known.deaths.len() >= DEATHS || known.on_probation {
                let (first, most) = LAID_ASIDE;
                let pause = known
                    .laid_aside
                    .map_or(first, |(_, last)| (last * 2).min(most));
                known.laid_aside = Some((Instant::now() + pause, pause));
                known.on_probation = true;
                known.deaths.clear();
                let problem = format!(
                    "jobs in a row ended their transcriber: install the model again (`capconduit model install \
                     {language}`); it is tried again in {} minutes",
                    pause.as_secs() / 60
                );
                error!(%language, problem, "a model is laid aside");
                known.state = ModelState::Unusable(problem);
            }
        }
        drop(known);
        self.show(|_| {});
        self.again.notify_one();
    }

    /// A job in these languages was done.
    pub fn praise(&self, languages: &[Language]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for language in languages {
            if let Some(known) = known.get_mut(language) {
                known.deaths.clear();
                known.on_probation = false;
                known.laid_aside = None;
            }
        }
    }

    /// A transcriber could not use the models that a recording in this language needs: none is used before it was tried
    /// again. Blamed is the one whose directory changed or went; if all are as they were, all of them.
    pub fn distrust(&self, of: RecordingLanguage, problem: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let languages = of.languages();
        let changed = |language: &&Language| {
            let known = known.get(language);
            known.is_some_and(|known| look(&known.directory) != known.seen)
        };
        let changed: Vec<Language> = languages.iter().filter(changed).copied().collect();
        for language in languages {
            if let Some(known) = known.get_mut(language) {
                known.seen = None;
                if changed.is_empty() || changed.contains(language) {
                    known.state = ModelState::Unusable(problem.to_owned());
                }
            }
        }
        drop(known);
        // The recording goes back to the queue.
        self.show(|view| {
            if !view.waiting.contains(&of) {
                view.waiting.push(of);
            }
        });
        self.again.notify_one();
    }

    /// Recordings in these languages wait in the queue.
    pub fn note_waiting(&self, languages: Vec<RecordingLanguage>) {
        self.show(|view| view.waiting = languages);
    }

    /// No transcriber could be started.
    pub fn without_worker(&self, error: &StartError) {
        let problem = Chain(error).to_string();
        self.show(|view| view.no_worker = Some(problem));
        self.again.notify_one();
    }

    async fn look_at(&self, language: Language) {
        let (directory, named) = self.places.of(language);
        let seen = look(&directory);
        let no_worker = self.view.borrow().no_worker.is_some();
        let (before, due) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = known.get(&language) else {
                return;
            };
            let changed = known.seen != seen;
            let waits = known
                .laid_aside
                .is_some_and(|(until, _)| Instant::now() < until);
            let due = match known.state {
                ModelState::Usable(_) => (changed || no_worker) && !waits,
                _ => !waits,
            };
            (known.state.clone(), due)
        };
        if !due {
            return;
        }
        let state = if seen.is_some() {
            match check(&self.program, language, &directory).await {
                Ok(name) => {
                    self.show(|view| view.no_worker = None);
                    ModelState::Usable(name)
                }
                Err(CheckError::Start(error)) => {
                    let problem = Chain(&error).to_string();
                    if self.view.borrow().no_worker.as_ref() != Some(&problem) {
                        warn!(problem, "recordings cannot be transcribed: they wait");
                    }
                    self.show(|view| view.no_worker = Some(problem));
                    // Nothing was learnt about the model.
                    return;
                }
                Err(error) => ModelState::Unusable(format!(
                    "{}: {}; install it again with `capconduit model install {language}`",
                    directory.display(),
                    Chain(&error)
                )),
            }
        } else if named {
            ModelState::Unusable(format!(
                "{} is not there: mend transcription.models.{language}",
                directory.display()
            ))
        } else {
            ModelState::Absent
        };
        if state != before {
            match &state {
                ModelState::Usable(name) => info!(%language, model = name, "a model can be used"),
                ModelState::Unusable(problem) => {
                    error!(%language, problem, "a model cannot be used: recordings in its language wait");
                }
                _ => {}
            }
        }
        self.note(language, directory, state, seen);
    }

    fn note(&self, language: Language, directory: PathBuf, state: ModelState, seen: Option<Seen>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new_model = false;
        if let Some(known) = known.get_mut(&language) {
            let waits = known
                .laid_aside
                .is_some_and(|(until, _)| Instant::now() < until);
            if waits {
                // Laid aside while it was tried.
                return;
            }
            new_model = known.seen != seen || known.state != state;
            known.directory = directory;
            known.state = state;
            known.seen = seen;
        }
        drop(known);
        self.show(|view| view.generation += u64::from(new_model));
    }

    /// Shows what is known now, with a change of the rest.
    fn show(&self, change: impl FnOnce(&mut View)) {
        let models = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.iter();
            known
                .map(|(language, known)| {
                    (*language, (known.directory.clone(), known.state.clone()))
                })
                .collect()
        };
        self.view.send_if_modified(|view| {
            let before = view.clone();
            view.models = models;
            change(view);
            *view != before
        });
    }
}

/// What there is to see of a model without opening it: other files, or newer ones, look different.
fn look(directory: &Path) -> Option<Seen> {
    let directory = std::fs::metadata(directory)
        .ok()
        .filter(std::fs::Metadata::is_dir)?;
    Some((
        directory.dev(),
        directory.ino(),
        directory.mtime(),
        directory.mtime_nsec(),
    ))
}
