//! Recordings as the API shows them: of a call, and all of them for those who look after them.

use jiff::Timestamp;
use serde::Deserialize;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::db::keyset::Keyset;
use crate::db::request::{Reach, Request};
use crate::db::rows::{reader, total_of};
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::transcripts::store::views::JobRow;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "recordings/sql/recordings";
        EXPIRE = "expire",
        HOLD = "hold",
        LIST = "list",
        LOCK = "lock",
        OF_CALL = "of_call",
    }

    /// How many [`LIST`] finds.
    pub const COUNT: crate::db::sql::Sql =
        crate::db::sql::count_of!("recordings/sql/recordings", "list");
}

/// A file of a recording.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRow {
    /// `caller`, `agent` or `mix`.
    pub leg: String,
    /// Its name in the storage.
    pub key: String,
    /// How long it is.
    pub bytes: i64,
    /// Its checksum, in hexadecimal digits.
    pub sha256: String,
    /// Samples a second.
    pub sample_rate: Option<i32>,
    /// How long it plays.
    pub duration_ms: Option<i64>,
}

/// What was recorded of a call, and what became of it.
#[derive(Debug)]
pub struct CallRecording {
    /// The recording, if there is one.
    pub recording: Option<RecordingBrief>,
    /// The job that transcribes it.
    pub job: Option<JobRow>,
    /// Whether there is a transcript.
    pub transcribed: bool,
}

/// A recording of a call.
#[derive(Debug)]
pub struct RecordingBrief {
    /// Its id.
    pub recording_id: i64,
    /// The attempt that was recorded.
    pub attempt: i32,
    /// `expected`, `stored`, `missing` or `deleted`.
    pub state: String,
    /// It is to be deleted now, though it may not have happened yet.
    pub due: bool,
    /// What is spoken: `en`, `hi` or `auto`.
    pub language: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When its files were stored.
    pub stored_at: Option<Timestamp>,
    /// When it is to be deleted.
    pub delete_after: Option<Timestamp>,
    /// Where its files are.
    pub location: Option<String>,
    /// How long it plays.
    pub duration_ms: Option<i64>,
    /// Its files.
    pub files: Vec<FileRow>,
}

/// A recording with all that is known of it.
#[derive(Debug)]
pub struct RecordingRow {
    /// Its id.
    pub recording_id: i64,
    /// Its call.
    pub call_id: i64,
    /// The attempt that was recorded.
    pub attempt: i32,
    /// The seller at the time of the call.
    pub user_id: Option<i32>,
    /// The seller's name, while there is one.
    pub username: Option<String>,
    /// The campaign.
    pub campaign_id: Option<i32>,
    /// Its name, while there is one.
    pub campaign_name: Option<String>,
    /// `expected`, `stored`, `missing` or `deleted`.
    pub state: String,
    /// What is spoken.
    pub language: String,
    /// Long numbers are masked in its transcript.
    pub mask_numbers: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When its files were first waited for.
    pub expected_at: Timestamp,
    /// When its files were stored.
    pub stored_at: Option<Timestamp>,
    /// When its files were deleted.
    pub deleted_at: Option<Timestamp>,
    /// Where its files are.
    pub location: Option<String>,
    /// How long it plays.
    pub duration_ms: Option<i64>,
    /// Its length was taken from the file's.
    pub repaired: bool,
    /// Days it is kept; `None`: for ever.
    pub retention_days: Option<i32>,
    /// When it is to be deleted.
    pub delete_after: Option<Timestamp>,
    /// Why it is not.
    pub hold_reason: Option<String>,
    /// What was strange about it.
    pub remark: Option<String>,
    /// Its files.
    pub files: Vec<FileRow>,
    /// State of the job that transcribes it.
    pub job_state: Option<String>,
}

/// Which recordings; what is `None` leaves all.
#[derive(Debug, Default)]
pub struct RecordingFilter<'a> {
    /// With this text in the name of seller, campaign or files, in the reason it is held or in the remark.
    pub text: Option<&'a str>,
    /// Of this state.
    pub state: Option<&'a str>,
    /// Held, or not.
    pub held: Option<bool>,
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Of this campaign.
    pub campaign_id: Option<i32>,
    /// Of this call.
    pub call_id: Option<i64>,
    /// Begun at this time or later.
    pub from: Option<Timestamp>,
    /// Begun before this time.
    pub to: Option<Timestamp>,
}

fn files(sql: Sql, row: &Row) -> Result<Vec<FileRow>, Error> {
    let Json(files) = reader(sql, row).column("files")?;
    Ok(files)
}

impl CallRecording {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::OF_CALL, row);
        let recording = match get.column::<Option<i64>>("recording_id")? {
            None => None,
            Some(recording_id) => Some(RecordingBrief {
                recording_id,
                attempt: get.column("attempt")?,
                state: get.column("state")?,
                due: get.column("due")?,
                language: get.column("language")?,
                started_at: get.column("started_at")?,
                stored_at: get.column("stored_at")?,
                delete_after: get.column("delete_after")?,
                location: get.column("location")?,
                duration_ms: get.column("duration_ms")?,
                files: files(sql::OF_CALL, row)?,
            }),
        };
        Ok(Self {
            recording,
            job: JobRow::of_call(sql::OF_CALL, row)?,
            transcribed: get.column("transcribed")?,
        })
    }
}

impl RecordingRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            recording_id: get.column("recording_id")?,
            call_id: get.column("call_id")?,
            attempt: get.column("attempt")?,
            user_id: get.column("user_id")?,
            username: get.column("username")?,
            campaign_id: get.column("campaign_id")?,
            campaign_name: get.column("campaign_name")?,
            state: get.column("state")?,
            language: get.column("language")?,
            mask_numbers: get.column("mask_numbers")?,
            started_at: get.column("started_at")?,
            expected_at: get.column("expected_at")?,
            stored_at: get.column("stored_at")?,
            deleted_at: get.column("deleted_at")?,
            location: get.column("location")?,
            duration_ms: get.column("duration_ms")?,
            repaired: get.column("repaired")?,
            retention_days: get.column("retention_days")?,
            delete_after: get.column("delete_after")?,
            hold_reason: get.column("hold_reason")?,
            remark: get.column("remark")?,
            files: files(sql, row)?,
            job_state: get.column("job_state")?,
        })
    }
}

impl Store {
    /// What was recorded of a call of a seller (`None`: of anybody): of this attempt, or the best there is. `None`
    /// if there is no such call.
    pub async fn recording_of_call(
        &self,
        reach: Reach,
        owner: Option<i32>,
        call_id: i64,
        attempt: Option<i32>,
    ) -> Result<Option<CallRecording>, Error> {
        let rows = self
            .once(reach, sql::OF_CALL, &[&owner, &call_id, &attempt])
            .await?;
        rows.first().map(CallRecording::from_row).transpose()
    }

    /// A part of all recordings in an order.
    pub async fn recordings(
        &self,
        filter: &RecordingFilter<'_>,
        order: &Keyset,
        limit: i64,
    ) -> Result<Vec<RecordingRow>, Error> {
        let rows = self
            .once_planned(
                Reach::Everything,
                sql::LIST,
                &[
                    &order.id,
                    &filter.state,
                    &filter.held,
                    &filter.user_id,
                    &filter.campaign_id,
                    &filter.call_id,
                    &filter.from,
                    &filter.to,
                    &order.sort,
                    &order.time,
                    &order.number,
                    &filter.text,
                    &limit,
                ],
            )
            .await?;
        let read = |row| RecordingRow::from_row(sql::LIST, row);
        rows.iter().map(read).collect()
    }

    /// How many recordings a filter leaves.
    pub async fn recordings_total(&self, filter: &RecordingFilter<'_>) -> Result<i64, Error> {
        let (nothing, order) = (None::<i64>, Keyset::whole("-id"));
        let rows = self
            .once_planned(
                Reach::Everything,
                sql::COUNT,
                &[
                    &order.id,
                    &filter.state,
                    &filter.held,
                    &filter.user_id,
                    &filter.campaign_id,
                    &filter.call_id,
                    &filter.from,
                    &filter.to,
                    &order.sort,
                    &order.time,
                    &order.number,
                    &filter.text,
                    &nothing,
                ],
            )
            .await?;
        total_of(sql::COUNT, &rows)
    }
}

impl Request {
    /// A recording, which nobody else changes until the end of the transaction.
    pub async fn lock_recording(&self, id: i64) -> Result<Option<RecordingRow>, Error> {
        let row = self.row(sql::LOCK, &[&id]).await?;
        row.map(|row| RecordingRow::from_row(sql::LOCK, &row))
            .transpose()
    }

    /// Holds a recording that was locked for a reason, or no longer.
    pub async fn hold_recording(&self, id: i64, reason: Option<&str>) -> Result<(), Error> {
        self.rows(sql::HOLD, &[&id, &reason]).await?;
        Ok(())
    }

    /// Says that a recording that was locked is to be deleted now.
    pub async fn expire_recording(&self, id: i64) -> Result<(), Error> {
        self.rows(sql::EXPIRE, &[&id]).await?;
        Ok(())
    }
}
