//! The queue of transcription jobs: claimed, worked on under a lease, finished once.
//!
//! Invariants: a job has one holder at a time, known by its daemon's name and the number of the attempt; only the
//! holder changes it, and a holder whose lease was taken over changes nothing any more.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::sql;
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::{JobId, RecordingId, RecordingLanguage, Speaker};

/// States of jobs.
pub const STATES: [&str; 6] = [
    "waiting",
    "queued",
    "running",
    "done",
    "failed",
    "cancelled",
];

/// A lease on a job: who holds it, in which attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// Its recording.
    pub recording_id: RecordingId,
    /// The holder.
    pub node: String,
    /// Number of the attempt.
    pub attempt: i32,
}

/// A job that was claimed.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The lease on it.
    pub lease: Lease,
    /// The language spoken.
    pub language: RecordingLanguage,
}

/// What a job is to listen to.
#[derive(Debug, Clone)]
pub struct JobFiles {
    /// Whether long numbers are to be masked.
    pub mask_numbers: bool,
    /// Where the files are, in the words of the storage.
    pub location: String,
    /// How long they are, as far as is known: the longest.
    pub duration: Option<Duration>,
    /// Who speaks in which object.
    pub legs: Vec<(Speaker, String)>,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// Why, for programs.
    pub code: &'a str,
    /// Why, for people.
    pub message: &'a str,
    /// Another attempt would end the same way.
    pub permanent: bool,
    /// It was no fault of the job's: the attempt does not count, within reason.
    pub free: bool,
}

/// A job that was taken from a daemon that is gone.
#[derive(Debug, Clone)]
pub struct RescuedJob {
    /// The job.
    pub job_id: JobId,
    /// The daemon.
    pub node: String,
    /// Its attempts are used up.
    pub failed: bool,
}

impl Store {
    /// Takes the first job of the queue that is in one of these languages.
    pub async fn claim_job(
        &self,
        languages: &[RecordingLanguage],
        node: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedJob>, Error> {
        let client = self.for_jobs().await?;
        let languages: Vec<&str> = languages.iter().map(|l| l.as_str()).collect();
        let rows =
            crate::db::pool::rows(&client, sql::CLAIM_JOB, &[&languages, &node, &now, &until])
                .await?;
        let claimed = rows.first().map(|row| {
            let get = reader(sql::CLAIM_JOB, row);
            let language: String = get.column("language")?;
            Ok(ClaimedJob {
                lease: Lease {
                    job_id: JobId(get.column("job_id")?),
                    recording_id: RecordingId(get.column("recording_id")?),
                    node: node.to_owned(),
                    attempt: get.column("attempts")?,
                },
                language: RecordingLanguage::parse(&language)
                    .ok_or_else(|| Error::row(sql::CLAIM_JOB.name, "language"))?,
            })
        });
        claimed.transpose()
    }

    /// What a job is to listen to; `None` if the recording is not kept any more.
    pub async fn job_files(&self, recording: RecordingId) -> Result<Option<JobFiles>, Error> {
        let client = self.for_jobs().await?;
        let rows = crate::db::pool::rows(&client, sql::JOB_FILES, &[&recording.0]).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let get = reader(sql::JOB_FILES, first);
        let mut longest: Option<i64> = get.column("duration_ms")?;
        let mut legs = Vec::new();
        for row in &rows {
            let get = reader(sql::JOB_FILES, row);
            longest = longest.max(get.column("leg_duration_ms")?);
            let leg: Option<String> = get.column("leg")?;
            let speaker = leg.as_deref().and_then(Speaker::parse);
            let key: Option<String> = get.column("object_key")?;
            legs.extend(speaker.zip(key));
        }
        Ok(Some(JobFiles {
            mask_numbers: get.column("mask_numbers")?,
            location: get.column("location")?,
            duration: longest.map(|ms| Duration::from_millis(ms.unsigned_abs())),
            legs,
        }))
    }

    /// Says that a job is being worked on and how much has been heard; `false` if the lease is lost.
    pub async fn extend_lease(
        &self,
        lease: &Lease,
        until: Timestamp,
        progress: Duration,
    ) -> Result<bool, Error> {
        let progress = progress.as_millis() as i64;
        self.with_lease(sql::EXTEND_LEASE, lease, &[&until, &progress])
            .await
            .map(|row| row.is_some())
    }

    /// Ends an attempt that came to nothing: the job waits for another, after a pause of `first_pause` or a power
    /// of two of it, or has failed for good. Returns its state; `None` if the lease is lost.
    pub async fn fail_job(
        &self,
        lease: &Lease,
        now: Timestamp,
        failure: &Failure<'_>,
        first_pause: Duration,
    ) -> Result<Option<String>, Error> {
        let Failure {
            code,
            message,
            permanent,
            free,
        } = failure;
        let pause = first_pause.as_secs_f64();
        let row = self
            .with_lease(
                sql::FAIL_JOB,
                lease,
                &[&now, code, message, permanent, free, &pause],
            )
            .await?;
        Ok(row.map(|row| row.get("state")))
    }

    /// Puts a job back unfinished, as the daemon ends; `false` if the lease is lost.
    pub async fn give_back_job(&self, lease: &Lease, now: Timestamp) -> Result<bool, Error> {
        let row = self.with_lease(sql::GIVE_BACK_JOB, lease, &[&now]).await;
        row.map(|row| row.is_some())
    }

    /// Ends a job whose recording is gone; `false` if the lease is lost.
    pub async fn drop_job(&self, lease: &Lease, now: Timestamp) -> Result<bool, Error> {
        let row = self.with_lease(sql::DROP_JOB, lease, &[&now]).await;
        row.map(|row| row.is_some())
    }

    async fn with_lease(
        &self,
        sql: crate::db::sql::Sql,
        lease: &Lease,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        let client = self.for_jobs().await?;
        let mut all = lease.parameters().to_vec();
        all.extend(parameters);
        let rows = crate::db::pool::rows(&client, sql, &all).await?;
        Ok(rows.into_iter().next())
    }

    /// Takes the jobs whose lease has run out from their daemons.
    pub async fn rescue_jobs(
        &self,
        now: Timestamp,
        first_pause: Duration,
    ) -> Result<Vec<RescuedJob>, Error> {
        let client = self.for_jobs().await?;
        let pause = first_pause.as_secs_f64();
        let rows = crate::db::pool::rows(&client, sql::RESCUE_JOBS, &[&now, &pause]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::RESCUE_JOBS, row);
                Ok(RescuedJob {
                    job_id: JobId(get.column("job_id")?),
                    node: get.column("node_name")?,
                    failed: get.column::<&str>("state")? == "failed",
                })
            })
            .collect()
    }

    /// Jobs by state.
    pub async fn count_jobs(&self) -> Result<Vec<(&'static str, i64)>, Error> {
        let client = self.for_jobs().await?;
        let rows = crate::db::pool::rows(&client, sql::COUNT_JOBS, &[]).await?;
        let counted = rows.iter().filter_map(|row| {
            let state = STATES
                .into_iter()
                .find(|s| *s == row.get::<_, &str>("state"))?;
            Some((state, row.get("jobs")))
        });
        Ok(counted.collect())
    }

    /// The languages of recordings that wait in the queue.
    pub async fn waiting_languages(&self) -> Result<Vec<RecordingLanguage>, Error> {
        let all: Vec<&str> = RecordingLanguage::ALL.iter().map(|l| l.as_str()).collect();
        let client = self.for_jobs().await?;
        let rows = crate::db::pool::rows(&client, sql::WAITING_LANGUAGES, &[&all]).await?;
        let waiting = rows.iter().filter_map(|row| {
            let word: &str = row.get("language");
            RecordingLanguage::ALL.iter().find(|l| l.as_str() == word)
        });
        Ok(waiting.copied().collect())
    }
}

impl Lease {
    /// `$1` to `$3` of the statements that need it.
    pub(crate) fn parameters(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 3] {
        [&self.job_id.0, &self.attempt, &self.node]
    }
}
