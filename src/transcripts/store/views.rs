//! Transcripts, and the jobs that make them, as the API shows them; and the search for what was said.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::db::keyset::Keyset;
use crate::db::request::{Reach, Request};
use crate::db::rows::{reader, total_of};
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::transcript::{Segment, Word};
use crate::domain::{Language, Speaker};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "transcripts/sql/transcripts";
        FOUND = "found",
        FOUND_OWN = "found_own",
        JOBS = "jobs",
        LOCK_JOB = "lock_job",
        MATCHES = "matches",
        ONE = "one",
        RETRY = "retry",
        SEGMENTS = "segments",
    }

    /// How many [`JOBS`] finds.
    pub const COUNT_JOBS: crate::db::sql::Sql =
        crate::db::sql::count_of!("transcripts/sql/transcripts", "jobs");
}

/// Calls found by their words before their order is asked for. Where there are more, going through the calls in
/// their order soon meets enough of them.
const MOST_FOUND: i32 = 1_000;

/// Segments shown of a call that was found.
const MOST_MATCHES: i64 = 3;

/// A job.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub job_id: i64,
    /// The recording it transcribes.
    pub recording_id: i64,
    /// The call of that.
    pub call_id: i64,
    /// The seller at the time of the call.
    pub user_id: Option<i32>,
    /// `en`, `hi` or `auto`.
    pub language: String,
    /// `waiting`, `queued`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Higher is done first.
    pub priority: i32,
    /// How often it was begun.
    pub attempts: i32,
    /// How often it is begun at most.
    pub max_attempts: i32,
    /// It does not begin earlier.
    pub not_before: Timestamp,
    /// The daemon that has it, or had it last.
    pub node_name: Option<String>,
    /// Until when that is believed to be at it.
    pub lease_expires_at: Option<Timestamp>,
    /// How much of the recording is done.
    pub progress_ms: Option<i64>,
    /// What went wrong last.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_message: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

/// Which jobs; what is `None` leaves all.
#[derive(Debug, Default)]
pub struct JobFilter<'a> {
    /// With this text in the name of seller or daemon, or in the error.
    pub text: Option<&'a str>,
    /// Of this state.
    pub state: Option<&'a str>,
    /// In this language.
    pub language: Option<&'a str>,
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Of this call.
    pub call_id: Option<i64>,
}

/// A transcript without what was said.
#[derive(Debug)]
pub struct TranscriptRow {
    /// Its call.
    pub call_id: i64,
    /// `en`, `hi` or `auto`.
    pub language: String,
    /// What recognised it.
    pub engine: String,
    /// Which version of that.
    pub engine_version: String,
    /// By language: name of the model.
    pub models: Value,
    /// How long the recording plays.
    pub audio_ms: i64,
    /// How many words there are.
    pub words: i32,
    /// Mean confidence of the words.
    pub confidence: Option<f32>,
    /// Long numbers in it were masked.
    pub masked: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The calls in which words were spoken.
#[derive(Debug, PartialEq, Eq)]
pub enum Spoken {
    /// There is nothing to look for in these words.
    Nothing,
    /// These.
    In(Vec<i64>),
    /// So many that they are better found in the order of the calls.
    Many,
}

/// A segment with words that were looked for.
#[derive(Debug)]
pub struct MatchRow {
    /// Its call.
    pub call_id: i64,
    /// `caller` or `agent`.
    pub speaker: String,
    /// When it begins.
    pub start_ms: i64,
    /// What was said: each word that was looked for between U+0002 and U+0003, `<` as U+0004, `&` as U+0005.
    pub marked: String,
}

impl JobRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        Self::with_names(sql, row, ["user_id", "state", "language", "started_at"])
    }

    /// The job in a row that also holds a recording, if there is one.
    pub(crate) fn of_call(sql: Sql, row: &Row) -> Result<Option<Self>, Error> {
        let id: Option<i64> = reader(sql, row).column("job_id")?;
        let names = ["job_user_id", "job_state", "job_language", "job_started_at"];
        id.map(|_| Self::with_names(sql, row, names)).transpose()
    }

    fn with_names(
        sql: Sql,
        row: &Row,
        [user_id, state, language, started_at]: [&str; 4],
    ) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            job_id: get.column("job_id")?,
            recording_id: get.column("recording_id")?,
            call_id: get.column("call_id")?,
            user_id: get.column(user_id)?,
            language: get.column(language)?,
            state: get.column(state)?,
            priority: get.column("priority")?,
            attempts: get.column("attempts")?,
            max_attempts: get.column("max_attempts")?,
            not_before: get.column("not_before")?,
            node_name: get.column("node_name")?,
            lease_expires_at: get.column("lease_expires_at")?,
            progress_ms: get.column("progress_ms")?,
            error_code: get.column("error_code")?,
            error_message: get.column("error_message")?,
            created_at: get.column("created_at")?,
            started_at: get.column(started_at)?,
            finished_at: get.column("finished_at")?,
        })
    }
}

impl TranscriptRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::ONE, row);
        Ok(Self {
            call_id: get.column("call_id")?,
            language: get.column("language")?,
            engine: get.column("engine")?,
            engine_version: get.column("engine_version")?,
            models: get.column("models")?,
            audio_ms: get.column("audio_ms")?,
            words: get.column("words")?,
            confidence: get.column("confidence")?,
            masked: get.column("masked")?,
            created_at: get.column("created_at")?,
        })
    }
}

fn segment(row: &Row) -> Result<Segment, Error> {
    let get = reader(sql::SEGMENTS, row);
    let Json(words): Json<Vec<Word>> = get.column("words")?;
    Ok(Segment {
        speaker: Speaker::parse(get.column("speaker")?),
        language: Language::parse(get.column("language")?),
        start_ms: get.column::<i64>("start_ms")?.unsigned_abs(),
        end_ms: get.column::<i64>("end_ms")?.unsigned_abs(),
        text: get.column("text")?,
        confidence: get.column("confidence")?,
        words,
    })
}

impl Store {
    /// The transcript of a recording of a seller (`None`: of anybody), if there is one.
    pub async fn transcript(
        &self,
        reach: Reach,
        owner: Option<i32>,
        recording_id: i64,
    ) -> Result<Option<(TranscriptRow, Vec<Segment>)>, Error> {
        let rows = self.once(reach, sql::ONE, &[&owner, &recording_id]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let transcript = TranscriptRow::from_row(row)?;
        let rows = self
            .once(reach, sql::SEGMENTS, &[&owner, &recording_id])
            .await?;
        let segments = rows.iter().map(segment).collect::<Result<_, _>>()?;
        Ok(Some((transcript, segments)))
    }

    /// The calls, of a seller (`None`: of anybody), in which words were spoken.
    pub async fn calls_with_words(
        &self,
        reach: Reach,
        owner: Option<i32>,
        words: &str,
    ) -> Result<Spoken, Error> {
        let at_most = MOST_FOUND + 1;
        let (sql, rows) = match reach {
            Reach::Tenant(_) => {
                let sql = sql::FOUND_OWN;
                (sql, self.once(reach, sql, &[&words, &at_most]).await?)
            }
            Reach::Everything => {
                let (sql, at_most) = (sql::FOUND, i64::from(at_most));
                let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                    [&words, &owner, &at_most];
                (sql, self.once_planned(reach, sql, &parameters).await?)
            }
        };
        let row = rows.first().ok_or_else(|| Error::row(sql.name, "no row"))?;
        let get = reader(sql, row);
        let calls: Vec<i64> = get.column("calls")?;
        Ok(match get.column("something")? {
            false => Spoken::Nothing,
            true if calls.len() > MOST_FOUND as usize => Spoken::Many,
            true => Spoken::In(calls),
        })
    }

    /// Segments of these calls, of a seller (`None`: of anybody), with words that were looked for: the first few
    /// of each call.
    pub async fn transcript_matches(
        &self,
        reach: Reach,
        owner: Option<i32>,
        calls: &[i64],
        words: &str,
    ) -> Result<Vec<MatchRow>, Error> {
        let rows = self
            .once_planned(
                reach,
                sql::MATCHES,
                &[&owner, &calls, &words, &MOST_MATCHES],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::MATCHES, row);
                Ok(MatchRow {
                    call_id: get.column("call_id")?,
                    speaker: get.column("speaker")?,
                    start_ms: get.column("start_ms")?,
                    marked: get.column("marked")?,
                })
            })
            .collect()
    }

    /// A part of all jobs in an order.
    pub async fn transcription_jobs(
        &self,
        filter: &JobFilter<'_>,
        order: &Keyset,
        limit: i64,
    ) -> Result<Vec<JobRow>, Error> {
        let rows = self
            .once_planned(
                Reach::Everything,
                sql::JOBS,
                &[
                    &order.id,
                    &filter.state,
                    &filter.language,
                    &filter.user_id,
                    &filter.call_id,
                    &order.sort,
                    &order.time,
                    &order.number,
                    &filter.text,
                    &limit,
                ],
            )
            .await?;
        let read = |row| JobRow::from_row(sql::JOBS, row);
        rows.iter().map(read).collect()
    }

    /// How many jobs a filter leaves.
    pub async fn transcription_jobs_total(&self, filter: &JobFilter<'_>) -> Result<i64, Error> {
        let (nothing, order) = (None::<i64>, Keyset::whole("-id"));
        let rows = self
            .once_planned(
                Reach::Everything,
                sql::COUNT_JOBS,
                &[
                    &order.id,
                    &filter.state,
                    &filter.language,
                    &filter.user_id,
                    &filter.call_id,
                    &order.sort,
                    &order.time,
                    &order.number,
                    &filter.text,
                    &nothing,
                ],
            )
            .await?;
        total_of(sql::COUNT_JOBS, &rows)
    }
}

impl Request {
    /// A job, which nobody else changes until the end of the transaction, and whether its recording can be
    /// transcribed.
    pub async fn lock_job(&self, id: i64) -> Result<Option<(JobRow, bool)>, Error> {
        let row = self.row(sql::LOCK_JOB, &[&id]).await?;
        row.map(|row| {
            let stored = reader(sql::LOCK_JOB, &row).column("stored")?;
            Ok((JobRow::from_row(sql::LOCK_JOB, &row)?, stored))
        })
        .transpose()
    }

    /// Queues a job that was locked for three more attempts.
    pub async fn retry_job(
        &self,
        id: i64,
        language: Option<&str>,
        priority: Option<i32>,
    ) -> Result<(), Error> {
        self.rows(sql::RETRY, &[&id, &language, &priority]).await?;
        Ok(())
    }
}
