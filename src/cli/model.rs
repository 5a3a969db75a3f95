//! `capconduit model`: the models that recordings are transcribed with. Works without a database.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Transcription;
use crate::domain::Language;
use crate::runtime::clock;
use crate::runtime::telemetry::Chain;
use crate::transcripts::models::CheckError;
use crate::vosk_models;
use crate::vosk_models::{
    CATALOGUE, Event, Installer, Manifest, Source, Trial, Try, Wanted, Watch,
};
use crate::{app, transcripts};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the official models of Vosk for the languages transcribed, and what is installed.
    List,
    /// Fetch a model, check it, and have its language use it.
    Install {
        /// A name of `model list`, a language (its small model), or the address of a zip file.
        #[arg(value_name = "NAME|LANGUAGE|URL")]
        model: String,
        /// The language that is to use it. Default: the one in its name.
        #[arg(long, value_enum)]
        language: Option<Spoken>,
        /// Refuse an archive with another SHA-256, in hexadecimal. Needed for addresses, and for http://.
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Where models that are named are, each as NAME.zip: your own copies instead of the publisher's.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
    /// See that installed models are whole and can be used.
    Check {
        /// A language or a model's directory. Default: everything installed or configured.
        #[arg(value_name = "LANGUAGE|DIRECTORY")]
        model: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Spoken {
    /// English.
    En,
    /// Hindi.
    Hi,
}

impl From<Spoken> for Language {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::En => Self::English,
            Spoken::Hi => Self::Hindi,
        }
    }
}

pub(super) async fn run(command: &Command, config: &Transcription) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => {
            list(config);
            Ok(ExitCode::SUCCESS)
        }
        Command::Install {
            model,
            language,
            sha256,
            mirror,
        } => {
            let language = language.map(Language::from);
            let source = Source::parse(model)?;
            let wanted = Wanted::new(&source, mirror.as_deref(), language, sha256.as_deref())?;
            wanted.check_origin(&source)?;
            install(&wanted, config).await
        }
        Command::Check { model } => check(model.as_deref(), config).await,
    }
}

// --- list -------------------------------------------------------------------------------------------------------

fn list(config: &Transcription) {
    let used: BTreeMap<PathBuf, Vec<String>> = used_models(config);
    let state = |directory: &Path| {
        let languages = std::fs::canonicalize(directory)
            .ok()
            .and_then(|real| used.get(&real));
        match languages {
            Some(languages) => format!("used for {}", languages.join(", ")),
            None if directory.is_dir() => "installed".to_owned(),
            None => "-".to_owned(),
        }
    };
    let mut rows = vec![
        [
            "MODEL", "LANGUAGE", "DOWNLOAD", "HERE", "LICENCE", "GOOD FOR",
        ]
        .map(str::to_owned),
    ];
    for known in CATALOGUE {
        let size = match known.download_mb {
            mb @ 1000.. => format!("~{:.1} GB", f64::from(mb) / 1000.0),
            mb => format!("~{mb} MB"),
        };
        rows.push([
            known.name.to_owned(),
            known.language.to_string(),
            size,
            state(&config.model_directory.join(known.name)),
            known.licence.to_owned(),
            known.good_for.to_owned(),
        ]);
    }
    for directory in installed(&config.model_directory) {
        let name = name_of(&directory);
        if vosk_models::find(&name).is_none() {
            let language = vosk_models::language_in(&name).map_or("?", Language::as_str);
            let unknown = || "-".to_owned();
            let state = state(&directory);
            rows.push([
                name,
                language.to_owned(),
                unknown(),
                state,
                unknown(),
                unknown(),
            ]);
        }
    }
    print_table(&rows);
    println!();
    println!(
        "Sizes are the publisher's, rounded. Telephone speech is converted to the rate a model wants."
    );
    println!("Models are in {}.", config.model_directory.display());
    for language in Language::ALL {
        let (directory, configured) = directory_of(config, language.as_str());
        match std::fs::canonicalize(&directory) {
            Ok(real) if configured => {
                println!("{language} uses {}, as configured.", real.display());
            }
            Ok(real) => println!("{language} uses {}.", name_of(&real)),
            Err(_) if configured => {
                println!(
                    "{language} is to use {}, which is not there.",
                    directory.display()
                );
            }
            Err(_) => println!("{language} has no model yet: capconduit model install {language}"),
        }
    }
}

fn print_table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = width(column) - cell.chars().count();
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        println!("{}", line.trim_end());
    }
}

fn name_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The directories in the model directory, in the order of their names.
fn installed(model_directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(model_directory).into_iter().flatten();
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| !name_of(path).starts_with('.'))
        .collect();
    found.sort();
    found
}

/// Where a language's model is looked for, and whether that is configured for it.
fn directory_of(config: &Transcription, language: &str) -> (PathBuf, bool) {
    match config.models.get(language) {
        Some(directory) => (directory.clone(), true),
        None => (config.model_directory.join(language), false),
    }
}

/// The languages of each model in use.
fn used_models(config: &Transcription) -> BTreeMap<PathBuf, Vec<String>> {
    let mut used: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for language in languages(config) {
        if let Ok(real) = std::fs::canonicalize(directory_of(config, &language).0) {
            used.entry(real).or_default().push(language);
        }
    }
    used
}

/// Those transcribed and those configured.
fn languages(config: &Transcription) -> Vec<String> {
    let ours = Language::ALL.iter().map(ToString::to_string);
    let mut all: Vec<_> = ours.chain(config.models.keys().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// Has the transcriber of the configuration try models.
fn trying(config: &Transcription) -> Try {
    let program = app::transcription_program(config);
    Arc::new(move |language, directory| {
        let program = program.clone();
        Box::pin(async move {
            match transcripts::models::check(&program, language, &directory).await {
                Ok(_) => Trial::Passed,
                Err(CheckError::Start(error)) => Trial::Untried(Chain(&error).to_string()),
                Err(error) => Trial::Unusable(Chain(&error).to_string()),
            }
        })
    })
}

// --- install ----------------------------------------------------------------------------------------------------

async fn install(wanted: &Wanted, config: &Transcription) -> anyhow::Result<ExitCode> {
    let progress = Arc::new(Progress::new(&wanted.name));
    let watch: Watch = {
        let progress = Arc::clone(&progress);
        Arc::new(move |event| progress.show(event))
    };
    let installer = Installer {
        directory: config.model_directory.clone(),
        try_out: trying(config),
        download: vosk_models::Download::default(),
        limits: vosk_models::Limits::default(),
        watch,
    };
    let done = installer.install(wanted, clock::now()).await;
    progress.end();
    let done = done?;
    let language = wanted.language;
    if done.already {
        println!("{} is installed already and whole", wanted.name);
    } else {
        println!("installed {} in {}", wanted.name, done.directory.display());
        println!(
            "SHA-256 of the archive: {}{}",
            done.archive_sha256,
            match wanted.sha256 {
                Some(_) => " (as demanded)",
                None => " (taken on trust; from now on an archive of this name must have it)",
            }
        );
    }
    match &done.trial {
        Trial::Passed => println!("the transcriber can use it"),
        Trial::Untried(problem) | Trial::Unusable(problem) => {
            eprintln!("capconduit: warning: the model could not be tried: {problem}");
        }
    }
    let was = done.before.map(|path| name_of(&path));
    match was.filter(|was| *was != wanted.name) {
        Some(was) => println!("{language} uses it now instead of {was}, which stays installed"),
        None => println!("{language} uses it now"),
    }
    println!("a running daemon takes it up within a minute or two");
    if let (directory, true) = directory_of(config, language.as_str()) {
        eprintln!(
            "capconduit: warning: transcription.models.{language} names {}, so this model is not used \
             until that key is removed",
            directory.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    name: String,
    bar: ProgressBar,
    terminal: bool,
    last: Mutex<Said>,
}

struct Said {
    stage: &'static str,
    tenths: u64,
    at: Instant,
}

/// How often a download of unknown length is mentioned where there is no bar.
const MENTION: Duration = Duration::from_secs(10);

impl Progress {
    fn new(name: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        Self {
            name: name.to_owned(),
            bar,
            terminal,
            last: Mutex::new(Said {
                stage: "",
                tenths: 0,
                at: Instant::now(),
            }),
        }
    }

    fn show(&self, event: Event) {
        match event {
            Event::Downloading { done, total } => self.bytes("downloading", done, total),
            Event::Unpacking { done, total } => self.bytes("unpacking", done, Some(total)),
            Event::Resuming { at } => self.say(&format!("going on from {}", megabytes(at))),
            Event::StartingOver => {
                self.say("starting over: the server cannot resume or has another file now");
            }
            Event::Retrying { problem, wait } => self.say(&format!(
                "{problem}; trying again in {:.1} s",
                wait.as_secs_f64()
            )),
            Event::Hashing => self.stage("working out the checksum"),
            Event::Trying => self.stage("trying it"),
        }
    }

    fn say(&self, text: &str) {
        let line = format!("{}: {text}", self.name);
        if self.terminal {
            self.bar.suspend(|| eprintln!("{line}"));
        } else {
            eprintln!("{line}");
        }
    }

    fn stage(&self, stage: &'static str) {
        if self.terminal {
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                self.bar.set_style(style);
            }
            self.bar.set_message(format!("{}: {stage}", self.name));
            self.bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            self.say(stage);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.stage = stage;
    }

    fn bytes(&self, stage: &'static str, done: u64, total: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.stage != stage;
        if self.terminal {
            if fresh {
                let template =
                    "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    self.bar.set_style(style);
                }
                self.bar.disable_steady_tick();
                self.bar.set_message(format!("{}: {stage}", self.name));
                self.bar.reset();
                last.stage = stage;
            }
            if let Some(total) = total {
                self.bar.set_length(total);
            }
            self.bar.set_position(done);
            return;
        }
        let tenths = total.map_or(0, |total| done * 10 / total.max(1));
        let due = match total {
            Some(_) => tenths > last.tenths,
            None => last.at.elapsed() >= MENTION,
        };
        if fresh || due {
            *last = Said {
                stage,
                tenths,
                at: Instant::now(),
            };
            let of = total.map_or(String::new(), |total| format!(" of {}", megabytes(total)));
            self.say(&format!("{stage}: {}{of}", megabytes(done)));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

// --- check ------------------------------------------------------------------------------------------------------

/// A model to look at.
struct Looked {
    /// What it is called in the report.
    what: String,
    /// What the transcriber is told.
    language: String,
    directory: PathBuf,
    /// What mends it.
    remedy: String,
}

async fn check(model: Option<&str>, config: &Transcription) -> anyhow::Result<ExitCode> {
    let try_out = trying(config);
    let mut failed = false;
    let all = to_check(model, config);
    if all.is_empty() {
        println!(
            "FAIL  no model is installed in {}",
            config.model_directory.display()
        );
        println!("      capconduit model install en");
        return Ok(ExitCode::FAILURE);
    }
    for model in all {
        let problems = look(&model, &try_out).await;
        failed |= !problems.is_empty();
        for problem in &problems {
            println!("FAIL  {}: {problem}", model.what);
        }
        if !problems.is_empty() {
            println!("      {}", model.remedy);
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Each directory once, those in use first.
fn to_check(model: Option<&str>, config: &Transcription) -> Vec<Looked> {
    if let Some(text) = model {
        let known = Language::parse(text).is_some() || config.models.contains_key(text);
        let (directory, language) = if known {
            (directory_of(config, text).0, text.to_owned())
        } else {
            let named = config.model_directory.join(text);
            // A name of `model list` will do for a directory.
            let is_name = !text.contains('/') && named.is_dir();
            let directory = if is_name { named } else { PathBuf::from(text) };
            let language = language_of(&directory, config);
            (directory, language)
        };
        return vec![looked(directory, language, config)];
    }
    let mut all = Vec::new();
    let mut seen = Vec::new();
    for language in languages(config) {
        let (directory, configured) = directory_of(config, &language);
        // A language nobody set up is not missed; a link that leads nowhere is.
        if configured || std::fs::symlink_metadata(&directory).is_ok() {
            seen.extend(std::fs::canonicalize(&directory));
            all.push(looked(directory, language, config));
        }
    }
    for directory in installed(&config.model_directory) {
        let real = std::fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
        if !seen.contains(&real) {
            let language = language_of(&directory, config);
            all.push(looked(directory, language, config));
        }
    }
    all
}

/// Which language a model is tried as; any will do for one whose name does not tell.
fn language_of(directory: &Path, config: &Transcription) -> String {
    let real = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let used = used_models(config);
    if let Some(language) = used.get(&real).and_then(|languages| languages.first()) {
        return language.clone();
    }
    let language = vosk_models::language_in(&name_of(&real)).unwrap_or(Language::English);
    language.to_string()
}

fn looked(directory: PathBuf, language: String, config: &Transcription) -> Looked {
    let real = std::fs::canonicalize(&directory).unwrap_or_else(|_| directory.clone());
    let name = name_of(&real);
    let what = if name_of(&directory) == name {
        directory.display().to_string()
    } else {
        format!("{language} ({name})")
    };
    let manifest = Manifest::read(&real).ok().flatten();
    let remedy = match manifest {
        Some(manifest) => format!(
            "capconduit model install {} --language {language} --sha256 {}",
            manifest.url, manifest.archive_sha256
        ),
        None if vosk_models::find(&name).is_some() => {
            format!("capconduit model install {name} --language {language}")
        }
        None if config.models.contains_key(&language) => format!(
            "copy the model again, or remove transcription.models.{language} and run: capconduit model install \
             {language}"
        ),
        None => format!("copy the model again, or run: capconduit model install {language}"),
    };
    Looked {
        what,
        language,
        directory,
        remedy,
    }
}

async fn look(model: &Looked, try_out: &Try) -> Vec<String> {
    let directory = model.directory.clone();
    let looked = tokio::task::spawn_blocking(move || files(&directory)).await;
    let verified = match looked {
        Ok(Ok(verified)) => verified,
        Ok(Err(problems)) => return problems,
        Err(error) => return vec![error.to_string()],
    };
    let files = if verified {
        "every file is as installed"
    } else {
        "copied by hand, so its files cannot be verified"
    };
    // A language of the user's own changes nothing for the trial.
    let language = Language::parse(&model.language).unwrap_or(Language::English);
    match try_out(language, model.directory.clone()).await {
        Trial::Passed => {
            println!("ok    {}: {files}; the transcriber can use it", model.what);
            Vec::new()
        }
        Trial::Unusable(problem) => vec![problem],
        Trial::Untried(problem) => {
            println!(
                "note  {}: {files}; could not be tried: {problem}",
                model.what
            );
            Vec::new()
        }
    }
}

/// Whether the files were compared with a manifest, or what is wrong with them.
fn files(directory: &Path) -> Result<bool, Vec<String>> {
    if let Err(error) = std::fs::read_dir(directory) {
        return Err(vec![format!(
            "{} cannot be read: {error}",
            directory.display()
        )]);
    }
    let manifest = Manifest::read(directory);
    let damage = match &manifest {
        Ok(Some(manifest)) => manifest.verify(directory),
        Ok(None) => Vec::new(),
        Err(error) => {
            return Err(vec![format!(
                "{} cannot be read: {error}",
                vosk_models::MANIFEST
            )]);
        }
    };
    if !damage.is_empty() {
        return Err(damage.iter().map(ToString::to_string).collect());
    }
    let missing = vosk_models::missing_parts(directory);
    if !missing.is_empty() {
        let missing = missing
            .iter()
            .map(|part| format!("{part} is missing or empty"));
        return Err(missing.collect());
    }
    Ok(matches!(manifest, Ok(Some(_))))
}
