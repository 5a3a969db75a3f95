//! Recordings: expected, stored, missing, deleted. Their files are elsewhere; here is what is known of them.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::sql;
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::transaction::Transaction;
use crate::db::{Error, Store};
use crate::domain::{Leg, Stem};

/// What deleting the files of one recording may take, however far away they are.
const BEGIN_DELETION: &str = "begin; set local idle_in_transaction_session_timeout = '150s'";

/// What is known of an attempt that was told to record.
#[derive(Debug, Clone)]
pub struct RecordedAttempt {
    /// What it was told to record to.
    pub stem: Stem,
    /// It was seen to be answered.
    pub answered: bool,
    /// Its call is over.
    pub over: bool,
    /// What became of the recording so far: the name of its state, if there is one.
    pub state: Option<String>,
}

/// A file as it is stored.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// Who is heard.
    pub leg: Leg,
    /// Its name in the storage.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: [u8; 32],
    /// Samples a second, if its header could be read.
    pub sample_rate: Option<u32>,
    /// How long it sounds, if its header could be read.
    pub duration_ms: Option<u64>,
}

/// The files of an attempt, all of them stored.
#[derive(Debug)]
pub struct StoredRecording<'a> {
    /// The attempt.
    pub stem: &'a Stem,
    /// Where they are.
    pub location: &'a str,
    /// A header was repaired.
    pub repaired: bool,
    /// Anything a reader should know.
    pub remark: Option<&'a str>,
    /// The files.
    pub files: &'a [StoredFile],
    /// Now.
    pub at: Timestamp,
}

/// How many recordings there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Whose files are to come.
    pub expected: i64,
    /// Whose files did not come.
    pub missing: i64,
    /// One that is due to be deleted is kept in another place than the one asked for.
    pub elsewhere: bool,
}

/// What a look at some recordings came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The last of them.
    pub last: i64,
    /// How many get another time.
    pub changed: i64,
    /// How many there were.
    pub seen: i64,
}

/// A recording locked for its deletion.
pub struct Doomed {
    /// The recording.
    pub recording_id: i64,
    /// Its stem.
    pub stem: String,
    /// Its files.
    pub keys: Vec<String>,
    transaction: Transaction,
}

impl Store {
    /// What is known of the attempts with these stems. Nothing of a stem that nobody was told.
    pub async fn recordings_of(&self, stems: &[Stem]) -> Result<Vec<RecordedAttempt>, Error> {
        const SQL: Sql = sql::RECORDINGS_OF_STEMS;
        let texts: Vec<&str> = stems.iter().map(Stem::as_str).collect();
        let calls: Vec<i64> = stems.iter().map(|s| s.call().0.0).collect();
        let attempts: Vec<i32> = stems.iter().map(|s| s.call().1 as i32).collect();
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, SQL, &[&texts, &calls, &attempts]).await?;
        let attempt = |row: &Row| {
            let get = reader(SQL, row);
            let stem: String = get.column("stem")?;
            Ok(RecordedAttempt {
                stem: Stem::parse(&stem).ok_or_else(|| Error::row(SQL.name, "stem"))?,
                answered: get.column("answered")?,
                over: get.column("over")?,
                state: get.column("state")?,
            })
        };
        rows.iter().map(attempt).collect()
    }

    /// Writes down where the files of an attempt are, and queues their transcription. `false` if they are
    /// nobody's, or were deleted already.
    pub async fn keep_recording(&self, kept: &StoredRecording<'_>) -> Result<bool, Error> {
        let files = kept.files;
        let legs: Vec<&str> = files.iter().map(|f| f.leg.as_str()).collect();
        let keys: Vec<&str> = files.iter().map(|f| &*f.key).collect();
        let bytes: Vec<i64> = files.iter().map(|f| f.bytes as i64).collect();
        let digests: Vec<&[u8]> = files.iter().map(|f| &f.sha256[..]).collect();
        let rates: Vec<Option<i32>> = files
            .iter()
            .map(|f| f.sample_rate.map(|r| r as i32))
            .collect();
        let lengths: Vec<Option<i64>> = files
            .iter()
            .map(|f| f.duration_ms.map(|ms| ms as i64))
            .collect();
        let longest = lengths.iter().copied().flatten().max();
        let (call_id, attempt) = kept.stem.call();
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(
            &client,
            sql::KEEP_RECORDING,
            &[
                &kept.stem.as_str(),
                &call_id.0,
                &(attempt as i32),
                &kept.location,
                &kept.at,
                &longest,
                &kept.repaired,
                &kept.remark,
                &legs,
                &keys,
                &bytes,
                &digests,
                &rates,
                &lengths,
            ],
        )
        .await?;
        Ok(!rows.is_empty())
    }

    /// Notes that the files of a recording hold no sound.
    pub async fn recording_is_empty(&self, stem: &Stem, now: Timestamp) -> Result<(), Error> {
        let client = self.for_background().await?;
        crate::db::pool::rows(&client, sql::EMPTY_RECORDING, &[&stem.as_str(), &now]).await?;
        Ok(())
    }

    /// Gives up on recordings expected before a time, but for those in sight. Returns some of their stems; none:
    /// there are no more.
    pub async fn miss_recordings(
        &self,
        before: Timestamp,
        now: Timestamp,
        in_sight: &[&str],
    ) -> Result<Vec<String>, Error> {
        const SQL: Sql = sql::MISS_RECORDINGS;
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, SQL, &[&before, &now, &in_sight]).await?;
        let stem = |row| reader(SQL, row).column("stem");
        rows.iter().map(stem).collect()
    }

    /// Counts recordings: missing ones that were expected since a time, any due by now that is not at `location`.
    pub async fn count_recordings(
        &self,
        since: Timestamp,
        now: Timestamp,
        location: &str,
    ) -> Result<Counts, Error> {
        const SQL: Sql = sql::COUNT_RECORDINGS;
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, SQL, &[&since, &now, &location]).await?;
        let row = rows.first().ok_or_else(|| Error::row(SQL.name, "no row"))?;
        let get = reader(SQL, row);
        Ok(Counts {
            expected: get.column("expected")?,
            missing: get.column("missing")?,
            elsewhere: get.column("elsewhere")?,
        })
    }

    /// Applies what campaigns say now, between `fewest` and `most` days, to `at_most` recordings after `after`. `None`:
    /// there are no more.
    pub async fn apply_retention(
        &self,
        after: i64,
        at_most: i64,
        fewest: Option<i32>,
        most: Option<i32>,
    ) -> Result<Option<Applied>, Error> {
        const SQL: Sql = sql::APPLY_RETENTION;
        let client = self.for_jobs().await?;
        let rows = crate::db::pool::rows(&client, SQL, &[&after, &at_most, &fewest, &most]).await?;
        let read = |row: &Row| {
            let get = reader(SQL, row);
            Ok(Applied {
                last: get.column("last")?,
                changed: get.column("changed")?,
                seen: get.column("seen")?,
            })
        };
        rows.first().map(read).transpose()
    }

    /// Locks a recording whose time is over, if there is one at `location` besides those in `but`.
    pub async fn doomed_recording(
        &self,
        now: Timestamp,
        location: &str,
        but: &[i64],
    ) -> Result<Option<Doomed>, Error> {
        let transaction = Transaction::on(self.for_background().await?);
        let read = async {
            transaction.begin_with(BEGIN_DELETION).await?;
            let found = transaction
                .run(sql::DOOMED_RECORDING, &[&now, &location, &but])
                .await?;
            let Some(row) = found.first() else {
                return Ok(None);
            };
            let get = reader(sql::DOOMED_RECORDING, row);
            let recording_id: i64 = get.column("recording_id")?;
            let stem: String = get.column("stem")?;
            let keys = transaction
                .run(sql::KEYS_OF_RECORDING, &[&recording_id])
                .await?;
            let key = |row| reader(sql::KEYS_OF_RECORDING, row).column("object_key");
            let keys: Vec<String> = keys.iter().map(key).collect::<Result<_, _>>()?;
            Ok(Some((recording_id, stem, keys)))
        };
        match read.await {
            Ok(Some((recording_id, stem, keys))) => Ok(Some(Doomed {
                recording_id,
                stem,
                keys,
                transaction,
            })),
            other => {
                transaction.roll_back(other.as_ref().err()).await;
                other.map(|_| None)
            }
        }
    }
}

impl Doomed {
    /// Its files are gone: so is the rest.
    pub async fn delete(self, now: Timestamp) -> Result<(), Error> {
        let deleted = self
            .transaction
            .run_and_commit(&[(sql::DELETE_RECORDING, &[&self.recording_id, &now])])
            .await;
        deleted.map(|_| ())
    }

    /// Changes nothing.
    pub async fn leave(self) {
        self.transaction.roll_back(None).await;
    }
}
