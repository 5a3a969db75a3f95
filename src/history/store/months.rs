//! History: the tables that grow with every call, by month; and what calls leave behind on their way there.

use std::time::Duration;

use jiff::civil::Date;

use super::sql;
use crate::db::rows::reader;
use crate::db::transaction::{Parameters, Transaction};
use crate::db::{Error, Store};

/// Work on a month may take long; what it locks it locks for a moment only.
const PATIENT: &str = "begin; set local statement_timeout = '28s'; set local lock_timeout = '50ms'";

/// A table that is kept by month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryTable {
    /// One row a call.
    CallLogs,
    /// One row per target tried.
    CallAttempts,
    /// Every decision.
    Decisions,
    /// Every change.
    AuditLog,
    /// What concerns security.
    SecurityEvents,
}

impl HistoryTable {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CallLogs,
        Self::CallAttempts,
        Self::Decisions,
        Self::AuditLog,
        Self::SecurityEvents,
    ];

    /// Its name in the database, and as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallLogs => "call_logs",
            Self::CallAttempts => "call_attempts",
            Self::Decisions => "decisions",
            Self::AuditLog => "audit_log",
            Self::SecurityEvents => "security_events",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

/// A month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichMonth {
    /// Of this day.
    Of(Date),
    /// So many months from now, by the database's clock; negative before.
    FromNow(i32),
}

/// What became of the wish for a month's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Month {
    /// It, or its next part, was made now.
    Made,
    /// It was there.
    There,
    /// Part of the work was done: ask again.
    Prepared,
    /// A table that is no partition has its name.
    NameTaken,
}

impl Month {
    /// As a log shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::There => "there",
            Self::Prepared => "prepared",
            Self::NameTaken => "name taken",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "made" => Self::Made,
            "there" => Self::There,
            "prepared" => Self::Prepared,
            "name taken" => Self::NameTaken,
            _ => return None,
        })
    }
}

/// What lies in the default partition of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strays {
    /// The table.
    pub table: HistoryTable,
    /// How many rows.
    pub rows: u64,
    /// How many were ever put there: it stands still when no more come.
    pub ever_inserted: i64,
}

/// A month whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldMonth {
    /// The partition.
    pub partition: String,
    /// `false`: it is kept, because recordings of its calls are.
    pub dropped: bool,
}

impl Store {
    /// Forgets up to `at_most` calls that ended so long ago, with their reservations; returns how many. A call stays
    /// while one of its slots is held.
    pub async fn forget_ended(&self, age: Duration, at_most: u32) -> Result<u32, Error> {
        let parameters: Parameters<'_> = &[&age.as_secs_f64(), &i64::from(at_most)];
        let row = self.chore(sql::FORGET_ENDED, parameters).await?;
        let forgotten: i64 = reader(sql::FORGET_ENDED, &row).column("forgotten")?;
        Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    /// Moves up to `at_most` attempts of forgotten calls to the history; returns how many.
    pub async fn archive_attempts(&self, at_most: u32) -> Result<u32, Error> {
        let at_most = i32::try_from(at_most).unwrap_or(i32::MAX);
        let row = self.chore(sql::ARCHIVE_ATTEMPTS, &[&at_most]).await?;
        let archived: i32 = reader(sql::ARCHIVE_ATTEMPTS, &row).column("archived")?;
        Ok(archived.unsigned_abs())
    }

    /// Makes the partition of a month, or its next part. At most so many rows are moved into it from the default
    /// partition.
    pub async fn make_month(
        &self,
        table: HistoryTable,
        month: WhichMonth,
        most_rows: i32,
    ) -> Result<Month, Error> {
        let (date, months_from_now) = match month {
            WhichMonth::Of(date) => (Some(date), 0),
            WhichMonth::FromNow(months) => (None, months),
        };
        let parameters: Parameters<'_> = &[&table.as_str(), &date, &months_from_now, &most_rows];
        let row = self
            .patient_chore(sql::MAKE_HISTORY_MONTH, parameters)
            .await?;
        let done: String = reader(sql::MAKE_HISTORY_MONTH, &row).column("done")?;
        Month::parse(&done).ok_or_else(|| Error::row(sql::MAKE_HISTORY_MONTH.name, done))
    }

    /// The newest month of which rows lie in the default partition.
    pub async fn stray_month(&self, table: HistoryTable) -> Result<Option<Date>, Error> {
        let parameters: Parameters<'_> = &[&table.as_str()];
        let row = self
            .patient_chore(sql::STRAY_HISTORY_MONTH, parameters)
            .await?;
        reader(sql::STRAY_HISTORY_MONTH, &row).column("month")
    }

    /// What lies in the default partition of each table; rows are counted up to `at_most`.
    pub async fn strays(&self, at_most: u32) -> Result<Vec<Strays>, Error> {
        let client = self.for_background().await?;
        let at_most = i32::try_from(at_most).unwrap_or(i32::MAX);
        let rows = crate::db::pool::rows(&client, sql::HISTORY_STRAYS, &[&at_most]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::HISTORY_STRAYS, row);
                let name: String = get.column("table_name")?;
                let rows: i64 = get.column("stray_rows")?;
                Ok(Strays {
                    table: HistoryTable::parse(&name)
                        .ok_or_else(|| Error::row(sql::HISTORY_STRAYS.name, name))?,
                    rows: rows.unsigned_abs(),
                    ever_inserted: get.column("ever_inserted")?,
                })
            })
            .collect()
    }

    /// Drops the oldest partition that is over since so many months: one at most. Returns it after those that are old
    /// enough too and are kept.
    pub async fn drop_month(
        &self,
        table: HistoryTable,
        keep_months: i32,
    ) -> Result<Vec<OldMonth>, Error> {
        // Large months take their time, which calls and their repairs have not.
        let work = Transaction::on(self.for_jobs().await?);
        let parameters: Parameters<'_> = &[&table.as_str(), &keep_months];
        let rows = work
            .run_all(Some(PATIENT), &[(sql::DROP_HISTORY_MONTH, parameters)])
            .await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::DROP_HISTORY_MONTH, row);
                Ok(OldMonth {
                    partition: get.column("partition_name")?,
                    dropped: get.column("dropped")?,
                })
            })
            .collect()
    }

    /// A statement that gives one row.
    async fn chore(
        &self,
        sql: crate::db::sql::Sql,
        parameters: Parameters<'_>,
    ) -> Result<tokio_postgres::Row, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql, parameters).await?;
        only(sql, rows)
    }

    async fn patient_chore(
        &self,
        sql: crate::db::sql::Sql,
        parameters: Parameters<'_>,
    ) -> Result<tokio_postgres::Row, Error> {
        // Large months take their time, which calls and their repairs have not.
        let work = Transaction::on(self.for_jobs().await?);
        let rows = work.run_all(Some(PATIENT), &[(sql, parameters)]).await?;
        only(sql, rows)
    }
}

fn only(
    sql: crate::db::sql::Sql,
    rows: Vec<tokio_postgres::Row>,
) -> Result<tokio_postgres::Row, Error> {
    let mut rows = rows.into_iter();
    rows.next().ok_or_else(|| Error::row(sql.name, "no row"))
}
