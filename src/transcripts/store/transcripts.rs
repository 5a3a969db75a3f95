//! Transcripts, kept together with the end of the job that made them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::types::Json;

use super::jobs::Lease;
use super::sql;
use crate::db::transaction::Transaction;
use crate::db::{Error, Store};
use crate::domain::{Language, Segment, Speaker, transcript};

/// What is kept of a recording that was transcribed.
#[derive(Debug, Clone)]
pub struct NewTranscript {
    /// What recognised it.
    pub engine: &'static str,
    /// Its version.
    pub engine_version: String,
    /// Name of the model of each language.
    pub models: BTreeMap<String, String>,
    /// Length of the recording, in milliseconds.
    pub audio_ms: u64,
    /// Something was masked.
    pub masked: bool,
    /// Who said what, in the order of time.
    pub segments: Vec<Segment>,
}

impl NewTranscript {
    /// All that was said in a language.
    fn text_in(&self, language: Language) -> String {
        let said = self
            .segments
            .iter()
            .filter(|s| s.language == Some(language));
        let said: Vec<&str> = said.map(|segment| segment.text.as_str()).collect();
        said.join("\n")
    }
}

impl Store {
    /// Keeps a transcript and ends its job, both or nothing; `false` if the lease is lost or the recording was
    /// deleted meanwhile.
    pub async fn finish_job(
        &self,
        lease: &Lease,
        now: Timestamp,
        transcript: &NewTranscript,
    ) -> Result<bool, Error> {
        let segments = &transcript.segments;
        let audio_ms = transcript.audio_ms as i64;
        let models = Json(&transcript.models);
        let words = transcript::word_count(segments) as i32;
        let confidence = transcript::confidence(segments);
        let english = transcript.text_in(Language::English);
        let hindi = transcript.text_in(Language::Hindi);
        let speaker = |s: &Segment| s.speaker.unwrap_or(Speaker::Caller).as_str();
        let speakers: Vec<&str> = segments.iter().map(speaker).collect();
        let language = |s: &Segment| s.language.unwrap_or(Language::English).as_str();
        let languages: Vec<&str> = segments.iter().map(language).collect();
        let starts: Vec<i64> = segments.iter().map(|s| s.start_ms as i64).collect();
        let ends: Vec<i64> = segments.iter().map(|s| s.end_ms as i64).collect();
        let texts: Vec<&str> = segments.iter().map(|s| s.text.as_str()).collect();
        let confidences: Vec<f32> = segments.iter().map(|s| s.confidence).collect();
        let spoken: Vec<_> = segments.iter().map(|s| Json(&s.words)).collect();

        let [job, attempt, node] = lease.parameters();
        let transaction = Transaction::on(self.for_jobs().await?);
        let finished = transaction
            .run_all(
                None,
                &[(
                    sql::FINISH_JOB,
                    &[
                        job,
                        attempt,
                        node,
                        &now,
                        &audio_ms,
                        &transcript.engine,
                        &transcript.engine_version,
                        &models,
                        &words,
                        &confidence,
                        &transcript.masked,
                        &english,
                        &hindi,
                        &speakers,
                        &languages,
                        &starts,
                        &ends,
                        &texts,
                        &confidences,
                        &spoken,
                    ],
                )],
            )
            .await?;
        Ok(!finished.is_empty())
    }
}
