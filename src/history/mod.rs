//! Housekeeping: forgets calls that are over, makes months of history, drops those that are not kept.
//!
//! It decides nothing about calls. Each chore stands by itself: one that fails is reported and tried again with the
//! next round, and keeps none of the others from being done. Any number of daemons may keep house at once.

pub mod store;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use self::store::months::{HistoryTable, Month, WhichMonth};
use crate::db::{Error, Store};
use crate::runtime::metrics;
use crate::runtime::telemetry::Chain;

/// Between two rounds.
pub const ROUND: Duration = Duration::from_secs(60);

/// How long ended calls stay known, so that a late or repeated report finds them.
const REMEMBER: Duration = Duration::from_secs(2 * 3600);

/// Rows forgotten or archived in one statement, which must end well within its time limit.
const BATCH: u32 = 5_000;

/// The fewest that are tried when a batch took too long.
const SMALL_BATCH: u32 = 50;

/// Between two batches, so that calls have the disk to themselves at times.
const PAUSE: Duration = Duration::from_millis(20);

/// A chore that is not done by then goes on in the next round.
const CHORE_LIMIT: Duration = Duration::from_secs(20);

/// The months that are there: the last one, this one, and so many to come.
const MONTHS: std::ops::RangeInclusive<i32> = -1..=3;

/// So many rows are moved from a default partition to their month at once: a few seconds of work.
const MOST_MOVED: i32 = 200_000;

/// Rows in default partitions are counted up to here.
const MOST_COUNTED: u32 = 10_000;

/// After so many rounds rows are moved to their month though more of them come.
const PATIENT_ROUNDS: u32 = 60;

/// How many months of each table are kept beside the current one; without a number all are.
pub type Keep = Vec<(HistoryTable, u32)>;

/// A chore that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub chore: &'static str,
    /// Why.
    pub error: Error,
}

/// Keeps house, round by round.
pub struct House {
    store: Store,
    keep: Keep,
    strays: HashMap<HistoryTable, Waiting>,
}

/// Rows in a default partition that wait for the last of them to come.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ever_inserted: i64,
    rounds: u32,
}

impl House {
    /// Of a database, of which so much is kept.
    pub fn new(store: Store, keep: Keep) -> Self {
        Self {
            store,
            keep,
            strays: HashMap::new(),
        }
    }

    /// Does all chores once. Returns those that failed.
    pub async fn round(&mut self) -> Vec<Failure> {
        let store = self.store.clone();
        let mut chores = Chores::default();
        for table in HistoryTable::ALL {
            chores.run("make_months", make_months(&store, table)).await;
        }
        chores.run("forget_calls", forget_calls(&store)).await;
        let archiving = archive_attempts(&store);
        chores.run("archive_attempts", archiving).await;
        for table in chores.run("count_rows", self.settled_strays()).await {
            chores.run("move_rows", move_rows(&store, table)).await;
        }
        for (table, months) in &self.keep {
            let dropping = drop_months(&store, *table, *months);
            chores.run("drop_months", dropping).await;
        }
        chores.run("forget_sessions", store.forget_expired()).await;
        chores.failures
    }

    /// Counts what lies in default partitions. Returns the tables where some does and no more comes: a row that comes
    /// while others of its month are moved could be refused, and an import would break off.
    async fn settled_strays(&mut self) -> Result<Vec<HistoryTable>, Error> {
        let mut settled = Vec::new();
        for found in self.store.strays(MOST_COUNTED).await? {
            metrics::partition_default_rows(found.table.as_str(), found.rows);
            if found.rows == 0 {
                self.strays.remove(&found.table);
                continue;
            }
            let seen = Waiting {
                ever_inserted: found.ever_inserted,
                rounds: 0,
            };
            let before = self.strays.insert(found.table, seen);
            let Some(before) = before else { continue };
            if before.ever_inserted == found.ever_inserted || before.rounds >= PATIENT_ROUNDS {
                settled.push(found.table);
            } else if let Some(waiting) = self.strays.get_mut(&found.table) {
                waiting.rounds = before.rounds + 1;
            }
        }
        Ok(settled)
    }
}

#[derive(Default)]
struct Chores {
    failures: Vec<Failure>,
    database_is_away: bool,
}

impl Chores {
    async fn run<T: Default>(
        &mut self,
        chore: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> T {
        if self.database_is_away {
            return T::default();
        }
        match work.await {
            Ok(result) => result,
            Err(error) => {
                metrics::housekeeping_failure(chore);
                // That the database is away is told elsewhere, once; every other chore would say the same.
                self.database_is_away = error.is_lost_connection();
                if self.database_is_away {
                    debug!(chore, error = %Chain(&error),
                        "the housekeeping waits for the database");
                } else {
                    warn!(chore, error = %Chain(&error),
                        "a chore of the housekeeping failed; it is tried again");
                }
                self.failures.push(Failure { chore, error });
                T::default()
            }
        }
    }
}

async fn forget_calls(store: &Store) -> Result<(), Error> {
    in_batches(|batch| store.forget_ended(REMEMBER, batch)).await
}

async fn archive_attempts(store: &Store) -> Result<(), Error> {
    in_batches(|batch| store.archive_attempts(batch)).await
}

/// Again and again, until less was found than was asked for.
async fn in_batches<F: Future<Output = Result<u32, Error>>>(
    work: impl Fn(u32) -> F,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut batch = BATCH;
    while began.elapsed() < CHORE_LIMIT {
        match work(batch).await {
            Ok(done) if done < batch => break,
            Ok(_) => {}
            // A slow disk: less at once.
            Err(error) if error.is_overload() && batch > SMALL_BATCH => batch /= 4,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn make_months(store: &Store, table: HistoryTable) -> Result<(), Error> {
    let name = table.as_str();
    for months in MONTHS {
        let month = WhichMonth::FromNow(months);
        let mut done = store.make_month(table, month, MOST_MOVED).await?;
        let mut calls = 1;
        while done == Month::Prepared && calls < 3 {
            done = store.make_month(table, month, MOST_MOVED).await?;
            calls += 1;
        }
        match done {
            Month::Made => info!(table = name, months, "made the partition of a month"),
            Month::NameTaken => warn!(
                table = name,
                months,
                "a month has no partition, because another table has its name: rename that table"
            ),
            Month::There | Month::Prepared => {}
        }
    }
    Ok(())
}

/// Gives months to rows that came before there was one, as those of an import.
async fn move_rows(store: &Store, table: HistoryTable) -> Result<(), Error> {
    let name = table.as_str();
    let began = Instant::now();
    while began.elapsed() < CHORE_LIMIT {
        let Some(month) = store.stray_month(table).await? else {
            break;
        };
        let done = store
            .make_month(table, WhichMonth::Of(month), MOST_MOVED)
            .await?;
        if done != Month::Made {
            warn!(table = name, %month, done = done.word(),
                "rows in the default partition could not be moved to their month");
            break;
        }
        info!(table = name, %month, "moved rows of the default partition to their month");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn drop_months(store: &Store, table: HistoryTable, months: u32) -> Result<(), Error> {
    let name = table.as_str();
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    loop {
        let old = store.drop_month(table, months).await?;
        let mut dropped = false;
        for month in &old {
            let partition = &month.partition;
            if month.dropped {
                metrics::partition_dropped(name);
                info!(
                    table = name,
                    partition, "dropped a month: its time was over"
                );
            } else {
                info!(
                    table = name,
                    partition,
                    "a month whose time is over is kept: there are recordings of its calls"
                );
            }
            dropped |= month.dropped;
        }
        if !dropped {
            return Ok(());
        }
    }
}
