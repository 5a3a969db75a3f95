//! What the daemon and a transcriber say to each other: one JSON object a line, questions on the transcriber's
//! standard input, answers on its standard output. Its standard error is for people.
//!
//! A transcriber works on one job at a time. It begins with [`Answer::Ready`]; a [`Request::Transcribe`] is
//! answered by [`Answer::Progress`] and [`Answer::Utterance`] as they come and by one [`Answer::Done`] or
//! [`Answer::Failed`] at the end. It ends when its standard input does, after what it was asked before, and at once if
//! the process that started it is gone. Fields unknown to a reader are passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Longest line either side writes, in bytes; a longer one is a fault.
pub const MAX_LINE: usize = 1 << 20;

/// Exit status of a transcriber that cannot find libvosk, the dynamic linker's own for it.
pub const EXIT_WITHOUT_LIBRARY: i32 = 127;

/// From the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Transcribe some tracks.
    Transcribe(Job),
    /// Load a model and let it hear a second of silence, to learn whether it can be used.
    Check {
        /// Its number, repeated in the answer.
        job: i64,
        /// The model's language.
        language: String,
    },
}

/// Tracks to transcribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number, repeated in every answer about it.
    pub job: i64,
    /// One or more languages; with several, each utterance is recognised in all of them and kept in the one
    /// whose model is surest of it.
    pub languages: Vec<String>,
    /// What to listen to, one after the other.
    pub tracks: Vec<Track>,
    /// Longest audio taken, in seconds.
    pub max_seconds: u32,
}

/// One channel of a WAV file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The file: RIFF WAVE with 16-bit samples, at 8 kHz or more.
    pub path: PathBuf,
    /// Channel of the file, from 0.
    pub channel: u16,
    /// Whose voice it is, repeated with each utterance: `caller`, `agent`, or a channel's number.
    pub speaker: String,
}

/// From a transcriber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// It is up and waits for a request.
    Ready {
        /// Of this protocol: [`VERSION`].
        protocol: u32,
        /// Version of libvosk it was made for.
        engine_version: String,
        /// What the kernel lacks for a sandbox, in words. Nothing: it is in one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lacks: Vec<String>,
    },
    /// It is alive and has listened to so much.
    Progress {
        /// The job.
        job: i64,
        /// Audio listened to so far, all tracks together, in milliseconds.
        audio_ms: u64,
        /// Audio of all tracks, as far as is known.
        total_ms: u64,
    },
    /// Somebody said something.
    Utterance {
        /// The job.
        job: i64,
        /// Whose voice: [`Track::speaker`].
        speaker: String,
        /// The language it was recognised in.
        language: String,
        /// The words, in order; at least one.
        words: Vec<Word>,
    },
    /// All tracks were heard to the end, or the model can be used.
    Done {
        /// The job.
        job: i64,
        /// Length of the longest track, in milliseconds.
        audio_ms: u64,
        /// Name of the model of each language used.
        models: BTreeMap<String, String>,
    },
    /// The job cannot be done.
    Failed {
        /// The job.
        job: i64,
        /// Why, for programs.
        code: FailureCode,
        /// Why and what to do, for people.
        message: String,
    },
}

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// As the model spells it.
    pub word: String,
    /// Milliseconds from the beginning of the recording.
    pub start_ms: u64,
    /// Milliseconds from the beginning of the recording.
    pub end_ms: u64,
    /// 0 to 1: how much surer the model is of it than of anything else. Not a probability of being right.
    pub confidence: f32,
}

/// Why a job cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Not a WAV file, or not one with 16-bit samples at 8 to 48 kHz in one or two channels.
    UnsupportedFormat,
    /// It ends before it should.
    Truncated,
    /// Longer than is taken.
    TooLong,
    /// Nothing can be heard on any track.
    Silent,
    /// It is not there or may not be read.
    Unreadable,
    /// There is no model of the language, or it cannot be loaded or used.
    ModelUnusable,
    /// The recogniser gave up on this audio.
    RecognitionFailed,
}

impl FailureCode {
    /// Its name in the protocol, the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedFormat => "unsupported_format",
            Self::Truncated => "truncated",
            Self::TooLong => "too_long",
            Self::Silent => "silent",
            Self::Unreadable => "unreadable",
            Self::ModelUnusable => "model_unusable",
            Self::RecognitionFailed => "recognition_failed",
        }
    }

    /// Whether another attempt could end otherwise.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Unreadable | Self::ModelUnusable | Self::RecognitionFailed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_protocol_are_those_of_the_database() {
        for code in [
            FailureCode::UnsupportedFormat,
            FailureCode::Truncated,
            FailureCode::TooLong,
            FailureCode::Silent,
            FailureCode::Unreadable,
            FailureCode::ModelUnusable,
            FailureCode::RecognitionFailed,
        ] {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.as_str()));
        }
    }

    #[test]
    fn lines_are_as_documented() {
        let request = Request::Check {
            job: 7,
            language: "en".to_owned(),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"type":"check","job":7,"language":"en"}"#);
        let answer = r#"{"type":"progress","job":7,"audio_ms":10,"total_ms":20,"new":1}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        assert!(matches!(answer, Answer::Progress { audio_ms: 10, .. }));
    }
}
