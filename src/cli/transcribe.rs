//! `capconduit transcribe`: one file, here and now. Needs no database, and with `--model` no configuration.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use capconduit_transcriber_protocol::{Job, Track};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::app;
use crate::config::{Environment, Transcription};
use crate::domain::{RecordingLanguage, Speaker, transcript};
use crate::transcripts::process::{Process, Program, program_path};
use crate::transcripts::session::{Heard, Hearing, Step};

/// What a model named by its directory is called between us and the transcriber.
const NAMED_BY_DIRECTORY: &str = "und";

/// Without a configuration.
const DEFAULT_MEMORY: u64 = 4 << 30;

/// Without a configuration.
const DEFAULT_MAX_AUDIO: Duration = Duration::from_secs(4 * 3_600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// WAV file with 16-bit samples, at 8 to 48 kHz. Of two channels the left is the caller, the right the agent.
    file: PathBuf,
    /// The language spoken.
    #[arg(long, value_enum, default_value_t = Spoken::En, conflicts_with = "model")]
    language: Spoken,
    /// Directory of a Vosk model to use instead of an installed one.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spoken {
    /// English.
    En,
    /// Hindi.
    Hi,
    /// English or Hindi, each utterance.
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Everything there is to know.
    Json,
    /// The words alone, one segment a line.
    Text,
    /// `WebVTT`.
    Vtt,
    /// `SubRip`.
    Srt,
}

/// What a transcriber is started with.
struct Means {
    program: Program,
    /// Model directories by what they are called.
    models: BTreeMap<String, PathBuf>,
    max_audio: Duration,
}

impl Arguments {
    /// Reads what it needs of the configuration.
    pub(super) fn configured(
        &self,
        file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Option<Transcription>, crate::config::Error> {
        match Transcription::load(file, environment) {
            Ok(config) => Ok(Some(config)),
            // Nothing of it is needed.
            Err(_) if self.model.is_some() && file.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) async fn run(
    arguments: &Arguments,
    config: Option<&Transcription>,
) -> anyhow::Result<ExitCode> {
    let means = means(arguments, config)?;
    let tracks = tracks(&arguments.file)?;
    let begun = Process::start(&means.program, &means.models);
    let mut process = begun.await?;
    let bar = bar();
    let heard = tokio::select! {
        heard = listen(&mut process, &means, tracks, &bar) => heard,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot listen for Ctrl-C")?;
            Err(anyhow::anyhow!("interrupted"))
        }
    };
    bar.finish_and_clear();
    let engine_version = process.engine_version.clone();
    process.kill().await;
    let heard = heard?;
    let text = match arguments.format {
        Format::Json => as_json(arguments, &heard, &engine_version)?,
        Format::Text => transcript::to_text(&heard.segments),
        Format::Vtt => transcript::to_vtt(&heard.segments),
        Format::Srt => transcript::to_srt(&heard.segments),
    };
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => {
            other.context("cannot write the transcript")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn means(arguments: &Arguments, config: Option<&Transcription>) -> anyhow::Result<Means> {
    let program = config.map_or_else(
        || Program {
            path: program_path(None),
            memory: DEFAULT_MEMORY,
        },
        app::transcription_program,
    );
    let max_audio = config.map_or(DEFAULT_MAX_AUDIO, |config| config.max_audio);
    let mut models = BTreeMap::new();
    if let Some(directory) = &arguments.model {
        let directory = absolute(directory)?;
        ensure!(
            directory.is_dir(),
            "there is no model in {}: name the directory of a Vosk model, which has am and conf in it",
            directory.display()
        );
        models.insert(NAMED_BY_DIRECTORY.to_owned(), directory);
    } else if let Some(config) = config {
        let places = app::model_places(config);
        for language in arguments.language.recording().languages() {
            let (directory, _) = places.of(*language);
            ensure!(
                directory.is_dir(),
                "there is no model for language {language} in {}: install one with `capconduit model install \
                 {language}`, or name one with --model",
                directory.display()
            );
            models.insert(language.to_string(), directory);
        }
    }
    Ok(Means {
        program,
        models,
        max_audio,
    })
}

impl Spoken {
    fn recording(self) -> RecordingLanguage {
        match self {
            Self::En => RecordingLanguage::English,
            Self::Hi => RecordingLanguage::Hindi,
            Self::Auto => RecordingLanguage::Auto,
        }
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

/// What there is to listen to in a file: one voice nobody knows, or caller and agent.
fn tracks(file: &Path) -> anyhow::Result<Vec<Track>> {
    let path = absolute(file)?;
    let channels = channels(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let track = |channel: u16, speaker: &str| Track {
        path: path.clone(),
        channel,
        speaker: speaker.to_owned(),
    };
    Ok(if channels == Some(2) {
        vec![
            track(0, Speaker::Caller.as_str()),
            track(1, Speaker::Agent.as_str()),
        ]
    } else {
        // What cannot be read as WAV is for the transcriber to refuse.
        vec![track(0, "0")]
    })
}

/// How many channels the file says it has, if it is a WAV file.
fn channels(path: &Path) -> std::io::Result<Option<u16>> {
    let mut start = Vec::new();
    std::fs::File::open(path)?
        .take(64 * 1024)
        .read_to_end(&mut start)?;
    let four = |at: usize| start.get(at..at + 4);
    if four(0) != Some(b"RIFF") || four(8) != Some(b"WAVE") {
        return Ok(None);
    }
    let mut at = 12;
    while let (Some(name), Some(&[a, b, c, d])) = (four(at), four(at + 4)) {
        if name == b"fmt " {
            let channels = start.get(at + 10..at + 12);
            return Ok(channels.map(|c| u16::from_le_bytes([c[0], c[1]])));
        }
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        // Chunks begin at even places.
        at += 8 + length + length % 2;
    }
    Ok(None)
}

fn bar() -> ProgressBar {
    // Draws to standard error, and nothing at all where that is no terminal.
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {bar:40} {percent:>3}% {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message("loading");
    bar
}

async fn listen(
    process: &mut Process,
    means: &Means,
    mut tracks: Vec<Track>,
    bar: &ProgressBar,
) -> anyhow::Result<Heard> {
    let laid = process.lay_out(&mut tracks).await.with_context(|| {
        let temporary = std::env::temp_dir();
        format!("no room for a copy in {}", temporary.display())
    })?;
    let job = Job {
        job: 1,
        languages: means.models.keys().cloned().collect(),
        tracks,
        max_seconds: u32::try_from(means.max_audio.as_secs()).unwrap_or(u32::MAX),
    };
    let fallen = "the file was not transcribed; `capconduit model check` says whether a model is damaged, and \
                  transcription.worker_memory_mib how much memory it may have";
    let mut hearing = Hearing::begin(process, job).await.context(fallen)?;
    loop {
        match hearing.next().await.context(fallen)? {
            Step::Progress { heard, total } => {
                bar.set_length(total.as_millis() as u64);
                bar.set_position(heard.as_millis() as u64);
                if !heard.is_zero() {
                    bar.set_message("listening");
                }
            }
            Step::Utterance => {}
            Step::Done(heard) => return Ok(heard),
            Step::Failed { code, message } => bail!("{} ({})", laid.told(&message), code.as_str()),
        }
    }
}

fn as_json(arguments: &Arguments, heard: &Heard, engine_version: &str) -> anyhow::Result<String> {
    let confidence = transcript::confidence(&heard.segments);
    let confidence = confidence.map(|c| (f64::from(c) * 1_000.0).round() / 1_000.0);
    let language = match arguments.model {
        Some(_) => None,
        None => Some(arguments.language.recording().as_str()),
    };
    let whole = json!({
        "language": language,
        "engine": "vosk",
        "engineVersion": engine_version,
        "models": heard.models,
        "audioMs": heard.audio_ms,
        "words": transcript::word_count(&heard.segments),
        "confidence": confidence,
        "segments": heard.segments,
    });
    let text = serde_json::to_string_pretty(&whole).context("cannot write JSON")?;
    Ok(text + "\n")
}
