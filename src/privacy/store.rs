//! Erasures of callers and sellers: requests, and the job that carries them out step by step.
//!
//! Invariants: a request holds no number, but hashes under a key of its own that goes with its end; a job has one
//! holder at a time, and each step notes how far it is in the transaction that does it. What is looked for where
//! stands in `sql/migrations/0014_privacy.sql`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::transaction::{Parameters, Transaction};
use crate::db::{Error, Store};
use crate::domain::UserId;
use crate::domain::number::{digits_of, spellings_of};
use crate::runtime::digest::hex;

/// The statements of the daemon itself.
pub mod worker_sql {
    crate::db::sql::statements! { "privacy/sql/erasures";
        CLAIM_ERASURE = "claim_erasure",
        ERASE_LATE = "erase_late",
        ERASURE_END_PASS = "erasure_end_pass",
        ERASURE_STEP = "erasure_step",
        FAIL_ERASURE = "fail_erasure",
    }
}

/// The statements of the API.
pub mod sql {
    crate::db::sql::statements! { "privacy/sql/erasures";
        CREATE = "create",
        KEEP_KEY = "keep_key",
        LIST = "list",
        ONE = "one",
        OPEN_OF_ACCOUNT = "open_of_account",
        UNDER_WAY_OF_ACCOUNT = "under_way_of_account",
    }
}

/// States of erasures.
pub const STATES: [&str; 4] = ["queued", "running", "waiting", "done"];

/// Steps change rows of tables that calls use: rather tried again than waited for.
const PATIENT: &str =
    "begin; set local statement_timeout = '20s'; set local lock_timeout = '200ms'";

fn random_key() -> Result<[u8; 32], Unfit> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|_| Unfit::NoKey)?;
    Ok(key)
}

/// A key for one erasure, and what it looks for.
#[derive(Clone)]
pub struct Sought {
    key: [u8; 32],
    hashes: Vec<Vec<u8>>,
    lengths: Vec<i32>,
}

impl Sought {
    /// Looks for a number in these spellings of its digits. `key` is random, and of this one erasure.
    pub fn new<'a>(key: [u8; 32], spellings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sought = Self {
            key,
            hashes: Vec::new(),
            lengths: Vec::new(),
        };
        for digits in spellings {
            let hash = sought.hash(digits.as_bytes()).to_vec();
            if !sought.hashes.contains(&hash) {
                sought.hashes.push(hash);
            }
            let length = digits.len() as i32;
            if !sought.lengths.contains(&length) {
                sought.lengths.push(length);
            }
        }
        sought
    }

    /// Looks for the number of a caller, and for others that are the same, under a key of its own. With what stands in
    /// place of the number. `reason` is looked at because it is kept.
    pub fn caller(number: &str, also_as: &[String], reason: &str) -> Result<(Self, String), Unfit> {
        if !is_erasable(number) {
            return Err(Unfit::Number);
        }
        if !also_as.iter().all(|number| is_erasable(number)) {
            return Err(Unfit::AlsoAs);
        }
        let mut spellings = spellings_of(number);
        spellings.extend(also_as.iter().flat_map(|number| spellings_of(number)));
        let told = digits_of(reason);
        if spellings.iter().any(|digits| told.contains(digits)) {
            return Err(Unfit::Reason);
        }
        let sought = Self::new(random_key()?, spellings.iter().map(String::as_str));
        let pseudonym = sought.pseudonym(&digits_of(number));
        Ok((sought, pseudonym))
    }

    /// Looks for a seller, under a key of its own. With what stands in place of its name.
    pub fn seller(id: UserId) -> Result<(Self, String), Unfit> {
        Ok((Self::new(random_key()?, []), format!("erased-{}", id.0)))
    }

    /// As the SQL function `erasure_hash`. A test compares the two.
    fn hash(&self, digits: &[u8]) -> [u8; 32] {
        let inner = Sha256::new()
            .chain_update(self.key)
            .chain_update(digits)
            .finalize();
        Sha256::new()
            .chain_update(self.key)
            .chain_update(inner)
            .finalize()
            .into()
    }

    /// What stands in place of these digits, and of nothing else.
    pub fn pseudonym(&self, digits: &str) -> String {
        format!("erased-{}", &hex(&self.hash(digits.as_bytes()))[..16])
    }
}

/// Fewest and most digits of a number that can be erased: fewer would be found in anything.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=18;

/// Whether a text is a telephone number that can be erased, with blanks, dots, dashes, slashes and parentheses as one likes.
pub fn is_erasable(text: &str) -> bool {
    let spelt = text
        .bytes()
        .enumerate()
        .all(|(at, b)| b.is_ascii_digit() || b" ()./-".contains(&b) || (b == b'+' && at == 0));
    spelt && DIGITS.contains(&digits_of(text).len())
}

/// Why a caller cannot be sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The number is none.
    Number,
    /// One of the other spellings is none.
    AlsoAs,
    /// The reason, which is kept, holds the number.
    Reason,
    /// The kernel gives no randomness.
    NoKey,
}

/// Which requests, and in which order; what is `None` leaves all.
#[derive(Debug)]
pub struct ErasureFilter<'a> {
    /// `-createdAt` or `createdAt`.
    pub sort: &'static str,
    /// After this one.
    pub after: Option<i64>,
    /// Of this state.
    pub state: Option<&'a str>,
    /// With this text in pseudonym, reason or error.
    pub text: Option<&'a str>,
}

/// A request to be made.
pub struct NewErasure<'a> {
    /// The account to be erased; `None`: a caller.
    pub account: Option<UserId>,
    /// What will stand in its place.
    pub pseudonym: &'a str,
    /// Changes nothing, only counts.
    pub dry_run: bool,
    /// Why.
    pub reason: &'a str,
    /// The account that asks; `None`: the command line.
    pub requested_by: Option<UserId>,
    /// The key.
    pub sought: &'a Sought,
}

/// A request, and how far it is.
#[derive(Debug, Clone)]
pub struct ErasureRow {
    /// Its id.
    pub erasure_id: i64,
    /// `caller` or `seller`.
    pub kind: String,
    /// The account that is erased.
    pub account_id: Option<i32>,
    /// What stands in place of the number or name.
    pub pseudonym: String,
    /// Changes nothing, only counts.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub requested_by: Option<i32>,
    /// When.
    pub created_at: Timestamp,
    /// One of [`STATES`].
    pub state: String,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
    /// When it was done.
    pub finished_at: Option<Timestamp>,
    /// What went wrong last; it is tried again.
    pub error: Option<String>,
    /// How often the tables were read.
    pub pass: i32,
    /// Rows by table.
    pub counts: Value,
    /// `calls` or `recordings`, while it waits for them.
    pub waits_for: Option<String>,
    /// Recordings deleted.
    pub recordings_deleted: i64,
    /// Recordings to be deleted.
    pub recordings_left: i64,
    /// Recordings that somebody holds: the first thousand.
    pub recordings_held: Vec<i64>,
    /// Until when what arrives late is erased too, while that is so.
    pub watched_until: Option<Timestamp>,
}

impl ErasureRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            erasure_id: get.column("erasure_id")?,
            kind: get.column("kind")?,
            account_id: get.column("account_id")?,
            pseudonym: get.column("pseudonym")?,
            dry_run: get.column("dry_run")?,
            reason: get.column("reason")?,
            requested_by: get.column("requested_by")?,
            created_at: get.column("created_at")?,
            state: get.column("state")?,
            started_at: get.column("started_at")?,
            finished_at: get.column("finished_at")?,
            error: get.column("error")?,
            pass: get.column("pass")?,
            counts: get.column("counts")?,
            waits_for: get.column("waits_for")?,
            recordings_deleted: get.column("recordings_deleted")?,
            recordings_left: get.column("recordings_left")?,
            recordings_held: get.column("recordings_held")?,
            watched_until: get.column("watched_until")?,
        })
    }
}

/// The lease on an erasure.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The erasure.
    pub erasure_id: i64,
    /// Number of the lease.
    pub attempt: i32,
    /// Of a seller, not of a caller.
    pub is_seller: bool,
    node: String,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// Everything was read.
    EndOfPass,
    /// It waits: for calls under way, or for files to be deleted.
    Waiting,
    /// Nothing is left to do.
    Done,
    /// Another daemon has it.
    Lost,
}

impl Step {
    fn read(sql: Sql, rows: &[Row]) -> Result<Self, Error> {
        let row = rows.first().ok_or_else(|| Error::row(sql.name, "no row"))?;
        let done: &str = reader(sql, row).column("done")?;
        match done {
            "more" | "again" => Ok(Self::More),
            "end" => Ok(Self::EndOfPass),
            "waiting" => Ok(Self::Waiting),
            "done" => Ok(Self::Done),
            "lost" => Ok(Self::Lost),
            other => Err(Error::row(sql.name, other.to_owned())),
        }
    }
}

impl Request {
    /// Makes a request, for the daemon to carry out.
    pub async fn create_erasure(&self, new: &NewErasure<'_>) -> Result<ErasureRow, Error> {
        let kind = if new.account.is_some() {
            "seller"
        } else {
            "caller"
        };
        let row = self
            .one(
                sql::CREATE,
                &[
                    &kind,
                    &new.account.map(|id| id.0),
                    &new.pseudonym,
                    &new.dry_run,
                    &new.reason,
                    &new.requested_by.map(|id| id.0),
                ],
            )
            .await?;
        let erasure = ErasureRow::from_row(sql::CREATE, &row)?;
        let Sought {
            key,
            hashes,
            lengths,
        } = new.sought;
        self.rows(
            sql::KEEP_KEY,
            &[&erasure.erasure_id, &&key[..], hashes, lengths],
        )
        .await?;
        Ok(erasure)
    }

    /// Whether an account is being erased.
    pub async fn is_being_erased(&self, account: UserId) -> Result<bool, Error> {
        let row = self.one(sql::UNDER_WAY_OF_ACCOUNT, &[&account.0]).await?;
        reader(sql::UNDER_WAY_OF_ACCOUNT, &row).column("there")
    }

    /// Whether an account was erased, or is being erased.
    pub async fn is_erased(&self, account: UserId) -> Result<bool, Error> {
        let row = self.one(sql::OPEN_OF_ACCOUNT, &[&account.0]).await?;
        reader(sql::OPEN_OF_ACCOUNT, &row).column("there")
    }
}

impl Store {
    /// A request.
    pub async fn erasure(&self, id: i64) -> Result<Option<ErasureRow>, Error> {
        let rows = self.once(Reach::Everything, sql::ONE, &[&id]).await?;
        let row = rows.first();
        row.map(|row| ErasureRow::from_row(sql::ONE, row))
            .transpose()
    }

    /// A part of all requests, newest first.
    pub async fn erasures(
        &self,
        filter: &ErasureFilter<'_>,
        limit: i64,
    ) -> Result<Vec<ErasureRow>, Error> {
        let rows = self
            .once_planned(
                Reach::Everything,
                sql::LIST,
                &[
                    &filter.after,
                    &filter.state,
                    &limit,
                    &filter.sort,
                    &filter.text,
                ],
            )
            .await?;
        let read = |row| ErasureRow::from_row(sql::LIST, row);
        rows.iter().map(read).collect()
    }

    /// Takes the erasure that waits longest, if one does.
    pub async fn claim_erasure(
        &self,
        node: &str,
        lease: Duration,
    ) -> Result<Option<Claimed>, Error> {
        const SQL: Sql = worker_sql::CLAIM_ERASURE;
        let rows = self
            .erasure_work(SQL, &[&node, &lease.as_secs_f64()])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let get = reader(SQL, row);
        Ok(Some(Claimed {
            erasure_id: get.column("erasure_id")?,
            attempt: get.column("attempt")?,
            is_seller: get.column("is_seller")?,
            node: node.to_owned(),
        }))
    }

    /// Reads and changes what is in the next `blocks` blocks of a table.
    pub async fn erasure_step(
        &self,
        claimed: &Claimed,
        lease: Duration,
        blocks: i32,
    ) -> Result<Step, Error> {
        const SQL: Sql = worker_sql::ERASURE_STEP;
        let Claimed {
            erasure_id,
            attempt,
            node,
            ..
        } = claimed;
        let lease = lease.as_secs_f64();
        let rows = self
            .erasure_work(SQL, &[erasure_id, node, attempt, &lease, &blocks])
            .await?;
        Step::read(SQL, &rows)
    }

    /// What follows when everything was read: recordings, another pass after `wait`, or the end.
    pub async fn end_erasure_pass(&self, claimed: &Claimed, wait: Duration) -> Result<Step, Error> {
        const SQL: Sql = worker_sql::ERASURE_END_PASS;
        let Claimed {
            erasure_id,
            attempt,
            node,
            ..
        } = claimed;
        let wait = wait.as_secs_f64();
        let rows = self
            .erasure_work(SQL, &[erasure_id, node, attempt, &wait])
            .await?;
        Step::read(SQL, &rows)
    }

    /// Erases what arrived since an erasure was done, for the one whose turn it is, and says how many rows it was. `None`:
    /// it is no erasure's turn.
    pub async fn erase_late(&self) -> Result<Option<i64>, Error> {
        const SQL: Sql = worker_sql::ERASE_LATE;
        let rows = self.erasure_work(SQL, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::row(SQL.name, "no row"))?;
        reader(SQL, row).column("changed")
    }

    /// Gives an erasure back after an error: it is tried again after `pause`.
    pub async fn fail_erasure(
        &self,
        claimed: &Claimed,
        error: &str,
        pause: Duration,
    ) -> Result<(), Error> {
        let Claimed {
            erasure_id,
            attempt,
            node,
            ..
        } = claimed;
        let pause = pause.as_secs_f64();
        self.erasure_work(
            worker_sql::FAIL_ERASURE,
            &[erasure_id, node, attempt, &error, &pause],
        )
        .await
        .map(|_| ())
    }

    async fn erasure_work(&self, sql: Sql, parameters: Parameters<'_>) -> Result<Vec<Row>, Error> {
        let work = Transaction::on(self.for_jobs().await?);
        work.run_all(Some(PATIENT), &[(sql, parameters)]).await
    }
}
