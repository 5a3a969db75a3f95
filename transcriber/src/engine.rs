//! Vosk, and all that is known of its ways: models that load and still cannot be used, panics of its bindings, rates
//! it does not take.
//!
//! A model is loaded when it is first needed and stays. What Vosk does not survive ends the process; nothing here
//! tries to prevent that.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use capconduit_transcriber::audio::Upsampler;
use capconduit_transcriber::model::{self, ModelError};
use capconduit_transcriber_protocol::Word;
use thiserror::Error;
use vosk::{CompleteResult, DecodingState, LogLevel};

use crate::limits;

/// Why nothing is recognised.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nobody said where the model is.
    #[error("there is no model of language {language:?} (there are: {known})")]
    NoModel {
        /// The language.
        language: String,
        /// The languages there are.
        known: String,
    },
    /// Its files are not right.
    #[error("the model cannot be used: {0}")]
    Files(#[from] ModelError),
    /// Vosk does not load it.
    #[error(
        "Vosk cannot load the model {directory}: a file of it is damaged{hint}. Install it anew"
    )]
    Load {
        /// Where it is.
        directory: PathBuf,
        /// What may be wrong.
        hint: String,
    },
    /// It loads, and no recogniser can be made.
    #[error(
        "Vosk cannot recognise with the model {0}: its graph is damaged or its parts do not fit. Install it anew"
    )]
    Unfit(PathBuf),
    /// Vosk would wait for memory for ever.
    #[error(
        "the limit of memory leaves {room} bytes for recognising, and {NEEDED_ROOM} are needed: raise it"
    )]
    NoRoom {
        /// What is left.
        room: u64,
    },
    /// Vosk gave up.
    #[error("Vosk gave up on this sound")]
    GaveUp,
    /// The bindings to Vosk cannot read its result.
    #[error("what Vosk found cannot be read, which is a fault of the model's word list: {0}")]
    Unintelligible(String),
}

/// What must be left of the address space when the first model has been loaded: with its first sound, `OpenBLAS` in
/// libvosk takes 128 MiB, and should it not get them, it asks again without end.
const NEEDED_ROOM: u64 = 192 << 20;

/// The models.
pub struct Engine {
    directories: BTreeMap<String, PathBuf>,
    loaded: BTreeMap<String, Model>,
    /// Whether anything has been recognised.
    warm: bool,
}

/// A model that has been loaded.
pub struct Model {
    vosk: vosk::Model,
    files: model::ModelFiles,
}

impl Engine {
    /// No model is loaded yet.
    pub fn new(directories: BTreeMap<String, PathBuf>) -> Self {
        vosk::set_log_level(LogLevel::Warn);
        Self {
            directories,
            loaded: BTreeMap::new(),
            warm: false,
        }
    }

    /// Loads the model of a language unless it has been loaded.
    pub fn load(&mut self, language: &str) -> Result<(), EngineError> {
        if self.loaded.contains_key(language) {
            return Ok(());
        }
        let Some(directory) = self.directories.get(language) else {
            let known: Vec<_> = self.directories.keys().map(String::as_str).collect();
            return Err(EngineError::NoModel {
                language: language.to_owned(),
                known: known.join(", "),
            });
        };
        let files = model::inspect(directory)?;
        let path = directory.to_string_lossy().into_owned();
        let loaded = caught(|| vosk::Model::new(path))?.ok_or_else(|| {
            let doubtful = model::doubtful(directory);
            EngineError::Load {
                directory: directory.clone(),
                hint: if doubtful.is_empty() {
                    String::new()
                } else {
                    format!(" or missing (perhaps {})", doubtful.join(", "))
                },
            }
        })?;
        let model = Model {
            vosk: loaded,
            files,
        };
        self.warm_up(&model)?;
        self.loaded.insert(language.to_owned(), model);
        Ok(())
    }

    /// Lets Vosk hear half a second before anything depends on it, unless it has heard something.
    fn warm_up(&mut self, model: &Model) -> Result<(), EngineError> {
        if self.warm {
            return Ok(());
        }
        if let Some(room) = limits::room().filter(|room| *room < NEEDED_ROOM) {
            return Err(EngineError::NoRoom { room });
        }
        let mut recogniser = model.recogniser(model.files.rate)?;
        recogniser.listen(&vec![0; model.files.rate as usize / 2])?;
        recogniser.last_words()?;
        self.warm = true;
        Ok(())
    }

    /// The model of a language that has been loaded.
    pub fn model(&self, language: &str) -> Result<&Model, EngineError> {
        self.loaded
            .get(language)
            .ok_or_else(|| EngineError::NoModel {
                language: language.to_owned(),
                known: self.loaded.keys().cloned().collect::<Vec<_>>().join(", "),
            })
    }
}

impl Model {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.files.name
    }

    /// A recogniser for sound at this rate, from its first sample.
    pub fn recogniser(&self, rate: u32) -> Result<Recogniser, EngineError> {
        // Vosk takes a rate above the model's and makes less of it. From one below it makes more only where the
        // model's configuration allows that.
        let factor = self.files.rate.div_ceil(rate);
        let vosk = caught(|| {
            let mut vosk = vosk::Recognizer::new(&self.vosk, (rate * factor) as f32)?;
            vosk.set_max_alternatives(0);
            vosk.set_words(true);
            vosk.set_partial_words(false);
            Some(vosk)
        })?
        .ok_or_else(|| EngineError::Unfit(self.files.directory.clone()))?;
        Ok(Recogniser {
            vosk,
            upsampler: (factor > 1).then(|| Upsampler::new(factor)),
            more: Vec::new(),
        })
    }
}

/// Listens to one track.
pub struct Recogniser {
    vosk: vosk::Recognizer,
    upsampler: Option<Upsampler>,
    more: Vec<i16>,
}

impl Recogniser {
    /// Takes the next samples; whether an utterance is over.
    pub fn listen(&mut self, samples: &[i16]) -> Result<bool, EngineError> {
        let Self {
            vosk,
            upsampler,
            more,
        } = self;
        let samples = match upsampler {
            None => samples,
            Some(upsampler) => {
                more.clear();
                upsampler.push(samples, more);
                more
            }
        };
        match caught(|| vosk.accept_waveform(samples))? {
            Ok(DecodingState::Finalized) => Ok(true),
            Ok(DecodingState::Running) => Ok(false),
            Ok(DecodingState::Failed) | Err(_) => Err(EngineError::GaveUp),
        }
    }

    /// The words since the last time.
    pub fn words(&mut self) -> Result<Vec<Word>, EngineError> {
        let vosk = &mut self.vosk;
        caught(|| words(vosk.result()))
    }

    /// The last words.
    pub fn last_words(mut self) -> Result<Vec<Word>, EngineError> {
        let vosk = &mut self.vosk;
        if let Some(mut upsampler) = self.upsampler.take() {
            self.more.clear();
            upsampler.finish(&mut self.more);
            let more = &self.more;
            match caught(|| vosk.accept_waveform(more))? {
                Ok(DecodingState::Failed) | Err(_) => return Err(EngineError::GaveUp),
                Ok(_) => {}
            }
        }
        caught(|| words(vosk.final_result()))
    }
}

fn words(result: CompleteResult<'_>) -> Vec<Word> {
    let result = match result {
        CompleteResult::Single(result) => result.result,
        CompleteResult::Multiple(_) => Vec::new(),
    };
    result
        .iter()
        .filter(|word| is_word(word.word))
        .map(|word| {
            let start_ms = milliseconds(word.start);
            Word {
                word: word.word.to_owned(),
                start_ms,
                end_ms: milliseconds(word.end).max(start_ms),
                confidence: if word.conf.is_nan() {
                    0.0
                } else {
                    word.conf.clamp(0.0, 1.0)
                },
            }
        })
        .collect()
}

/// Not what stands for unknown words, noise or laughter.
fn is_word(word: &str) -> bool {
    let stands_for = |open, close| word.starts_with(open) && word.ends_with(close);
    !(word.is_empty() || stands_for('[', ']') || stands_for('<', '>'))
}

fn milliseconds(seconds: f32) -> u64 {
    // A negative or odd number becomes 0.
    (f64::from(seconds) * 1000.0).round() as u64
}

/// Turns a panic of the bindings, which cannot read every result, into an error.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        EngineError::Unintelligible(text.chars().take(200).collect())
    })
}
