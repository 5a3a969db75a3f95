//! A job, from its request to its last answer.
//!
//! All headers are checked before any model is loaded, and all models loaded before anything is recognised; then one
//! track after the other goes through one recogniser for each language, from its first sample, so that times of words
//! are times of the recording.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::time::{Duration, Instant};

use capconduit_transcriber::audio::Ear;
use capconduit_transcriber::language::Chooser;
use capconduit_transcriber::wav::{self, Wav};
use capconduit_transcriber_protocol::{Answer, FailureCode, Job, Track, Word};

use crate::engine::{Engine, EngineError, Recogniser};
use crate::pipes::{Answers, PipeError};

/// Sound recognised at a time.
const PIECE_MS: u32 = 200;
/// Longest time without a word on how far it is.
const PROGRESS: Duration = Duration::from_millis(500);
/// Most sound without a word on how far it is.
const PROGRESS_AUDIO_MS: u64 = 30_000;

/// So many pieces in a row one of several models must find that an utterance is over, if the others do not agree: a
/// second. A model that has heard nothing in it finds so only after five.
const OVER_FOR_ONE: u32 = 5;

/// Why a job ended before its end.
enum Stop {
    /// It cannot be done.
    Failed(FailureCode, String),
    /// Nobody is there to hear of it.
    Unheard(PipeError),
}

impl From<PipeError> for Stop {
    fn from(problem: PipeError) -> Self {
        Self::Unheard(problem)
    }
}

impl From<EngineError> for Stop {
    fn from(problem: EngineError) -> Self {
        let code = match problem {
            EngineError::GaveUp => FailureCode::RecognitionFailed,
            _ => FailureCode::ModelUnusable,
        };
        Self::Failed(code, problem.to_string())
    }
}

/// Does a job and answers it.
pub fn transcribe(job: &Job, engine: &mut Engine, answers: &mut Answers) -> Result<(), PipeError> {
    let outcome = transcription(job, engine, answers);
    conclude(job.job, outcome, answers)
}

/// Finds out whether a model can be used, and answers.
pub fn check(
    job: i64,
    language: &str,
    engine: &mut Engine,
    answers: &mut Answers,
) -> Result<(), PipeError> {
    let outcome = try_model(job, language, engine);
    conclude(job, outcome, answers)
}

fn conclude(
    job: i64,
    outcome: Result<Answer, Stop>,
    answers: &mut Answers,
) -> Result<(), PipeError> {
    match outcome {
        Ok(done) => answers.send(&done),
        Err(Stop::Failed(code, message)) => answers.send(&Answer::Failed { job, code, message }),
        Err(Stop::Unheard(problem)) => Err(problem),
    }
}

/// How far a job is.
struct Progress {
    job: i64,
    heard_ms: u64,
    total_ms: u64,
    told: Option<(Instant, u64)>,
}

impl Progress {
    fn tell(&mut self, answers: &mut Answers) -> Result<(), PipeError> {
        let due = self.told.is_none_or(|(when, heard)| {
            when.elapsed() >= PROGRESS || self.heard_ms.saturating_sub(heard) >= PROGRESS_AUDIO_MS
        });
        if due {
            self.told = Some((Instant::now(), self.heard_ms));
            answers.send(&Answer::Progress {
                job: self.job,
                audio_ms: self.heard_ms,
                total_ms: self.total_ms,
            })?;
        }
        Ok(())
    }
}

fn transcription(job: &Job, engine: &mut Engine, answers: &mut Answers) -> Result<Answer, Stop> {
    let tracks = open(job)?;
    let mut progress = Progress {
        job: job.job,
        heard_ms: 0,
        total_ms: tracks.iter().map(|(_, wav)| wav.duration_ms()).sum(),
        told: None,
    };
    progress.tell(answers)?;
    let audio_ms = tracks.iter().map(|(_, wav)| wav.duration_ms()).max();
    let mut models = BTreeMap::new();
    if job.languages.is_empty() {
        return Err(Stop::Failed(
            FailureCode::ModelUnusable,
            "the job names no language".to_owned(),
        ));
    }
    for language in &job.languages {
        engine.load(language)?;
        models.insert(language.clone(), engine.model(language)?.name().to_owned());
    }
    let mut heard = false;
    for (track, wav) in tracks {
        heard |= listen(job, track, wav, engine, &mut progress, answers)?;
    }
    if !heard {
        return Err(Stop::Failed(
            FailureCode::Silent,
            "nothing can be heard on any track".to_owned(),
        ));
    }
    Ok(Answer::Done {
        job: job.job,
        audio_ms: audio_ms.unwrap_or_default(),
        models,
    })
}

type File16 = Wav<BufReader<File>>;

/// Opens all tracks and checks what their headers say.
fn open(job: &Job) -> Result<Vec<(&Track, File16)>, Stop> {
    if job.tracks.is_empty() {
        return Err(Stop::Failed(
            FailureCode::UnsupportedFormat,
            "the job names no track".to_owned(),
        ));
    }
    job.tracks
        .iter()
        .map(|track| {
            let wav = open_track(track, job.max_seconds)?;
            Ok((track, wav))
        })
        .collect()
}

fn open_track(track: &Track, max_seconds: u32) -> Result<File16, Stop> {
    let path = track.path.display();
    let wav = wav::open(&track.path).map_err(|problem| unfit(track, &problem))?;
    if track.channel >= wav.channels() {
        return Err(Stop::Failed(
            FailureCode::UnsupportedFormat,
            format!(
                "{path} has {} channel(s), counted from 0, and channel {} was asked for",
                wav.channels(),
                track.channel
            ),
        ));
    }
    if wav.frames() > u64::from(max_seconds) * u64::from(wav.rate()) {
        return Err(Stop::Failed(
            FailureCode::TooLong,
            format!(
                "{path} is {} s long and at most {max_seconds} s are taken",
                wav.duration_ms().div_ceil(1000)
            ),
        ));
    }
    Ok(wav)
}

fn unfit(track: &Track, problem: &wav::WavError) -> Stop {
    Stop::Failed(
        problem.code(),
        format!("{} {problem}", track.path.display()),
    )
}

/// Recognises a track; whether anything could be heard on it.
fn listen(
    job: &Job,
    track: &Track,
    mut wav: File16,
    engine: &Engine,
    progress: &mut Progress,
    answers: &mut Answers,
) -> Result<bool, Stop> {
    let mut recognisers = job
        .languages
        .iter()
        .map(|language| engine.model(language)?.recogniser(wav.rate()))
        .collect::<Result<Vec<_>, _>>()?;
    let before = progress.heard_ms;
    let rate = u64::from(wav.rate());
    let piece = (wav.rate() * PIECE_MS / 1000) as usize;
    let (mut ear, mut chooser) = (Ear::default(), Chooser::default());
    let (mut samples, mut frames) = (Vec::new(), 0);
    // All models get the same utterances, cut where they agree that one is over.
    let mut over_for_one = 0;
    loop {
        wav.read(track.channel, piece, &mut samples)
            .map_err(|problem| unfit(track, &problem))?;
        if samples.is_empty() {
            break;
        }
        ear.listen(&samples);
        let mut over = 0;
        for recogniser in &mut recognisers {
            over += usize::from(recogniser.listen(&samples)?);
        }
        over_for_one = if over > 0 { over_for_one + 1 } else { 0 };
        if over == recognisers.len() || over_for_one >= OVER_FOR_ONE {
            over_for_one = 0;
            let words = recognisers.iter_mut().map(Recogniser::words);
            let words = words.collect::<Result<_, _>>()?;
            say(job, track, &mut chooser, words, answers)?;
        }
        frames += samples.len() as u64;
        progress.heard_ms = before + frames * 1000 / rate;
        progress.tell(answers)?;
    }
    let words = recognisers.into_iter().map(Recogniser::last_words);
    let words = words.collect::<Result<_, _>>()?;
    say(job, track, &mut chooser, words, answers)?;
    Ok(ear.heard())
}

/// Sends an utterance as the surest of the languages heard it.
fn say(
    job: &Job,
    track: &Track,
    chooser: &mut Chooser,
    mut heard: Vec<Vec<Word>>,
    answers: &mut Answers,
) -> Result<(), PipeError> {
    if let Some(place) = chooser.choose(&heard) {
        let words = heard.swap_remove(place);
        answers.utterance(job.job, &track.speaker, &job.languages[place], words)?;
    }
    Ok(())
}

/// Loads a model and lets it hear a second of silence and one of noise, at the rate of a telephone.
fn try_model(job: i64, language: &str, engine: &mut Engine) -> Result<Answer, Stop> {
    let name = hear_noise(language, engine)
        .map_err(|problem| Stop::Failed(FailureCode::ModelUnusable, problem.to_string()))?;
    Ok(Answer::Done {
        job,
        audio_ms: 0,
        models: BTreeMap::from([(language.to_owned(), name)]),
    })
}

/// The name of the model that heard it.
fn hear_noise(language: &str, engine: &mut Engine) -> Result<String, EngineError> {
    engine.load(language)?;
    let model = engine.model(language)?;
    let mut recogniser = model.recogniser(8000)?;
    let mut state = 1_u32;
    let noise: Vec<i16> = (0..8000)
        .map(|_| {
            // A linear congruence will do for noise.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 20).cast_signed() as i16 - 2048
        })
        .collect();
    for second in [vec![0; 8000], noise] {
        for piece in second.chunks(1600) {
            if recogniser.listen(piece)? {
                recogniser.words()?;
            }
        }
    }
    recogniser.last_words()?;
    Ok(model.name().to_owned())
}
