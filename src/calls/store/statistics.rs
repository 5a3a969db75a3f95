//! Calls, counted.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::logs::CallFilter;
use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::{Error, Store};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/statistics";
        GROUPED = "grouped",
    }
}

/// What calls are counted by.
#[derive(Debug, Clone, Copy)]
pub struct Grouping<'a> {
    /// `campaign`, `client`, `did`, `link`, `user`, `status`, `reason`, `hangup_cause`, `weekday_hour`, `hour`, `day`,
    /// `week` or `month`.
    pub by: &'a str,
    /// Within that, by another of these.
    pub then_by: Option<&'a str>,
    /// The zone of times, by its IANA name.
    pub zone: &'a str,
    /// Also how long callers waited, and how many there were.
    pub details: bool,
}

/// What calls of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupKey {
    /// Id of the campaign, client, DID, link or user; the hangup cause.
    pub id: Option<i32>,
    /// The id, the status, the reason, or weekday and hour; none where the call has no such thing.
    pub key: Option<String>,
    /// When the hour, day, week or month began.
    pub at: Option<Timestamp>,
    /// Name or number, while there is one.
    pub name: Option<String>,
}

/// A group of calls.
#[derive(Debug, Clone, Default)]
pub struct GroupRow {
    /// What they have in common.
    pub first: GroupKey,
    /// And what else.
    pub second: GroupKey,
    /// Calls.
    pub calls: i64,
    /// Of these: answered.
    pub answered: i64,
    /// Of these: refused.
    pub refused: i64,
    /// Of these: given up by the caller.
    pub abandoned: i64,
    /// Of these: none of the former.
    pub failed: i64,
    /// Answered seconds.
    pub billed_seconds: i64,
    /// Seconds a call took.
    pub average_duration_seconds: Option<f64>,
    /// Seconds that half of the answered callers waited at most.
    pub ring_seconds_median: Option<f64>,
    /// Seconds that nine in ten of the answered callers waited at most.
    pub ring_seconds_p90: Option<f64>,
    /// Different numbers of callers.
    pub unique_callers: Option<i64>,
}

impl GroupRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::GROUPED, row);
        Ok(Self {
            first: GroupKey {
                id: get.column("id1")?,
                key: get.column("key1")?,
                at: get.column("at1")?,
                name: get.column("name1")?,
            },
            second: GroupKey {
                id: get.column("id2")?,
                key: get.column("key2")?,
                at: get.column("at2")?,
                name: get.column("name2")?,
            },
            calls: get.column("calls")?,
            answered: get.column("answered")?,
            refused: get.column("refused")?,
            abandoned: get.column("abandoned")?,
            failed: get.column("failed")?,
            billed_seconds: get.column("billed_seconds")?,
            average_duration_seconds: get.column("average_duration_seconds")?,
            ring_seconds_median: get.column("ring_seconds_median")?,
            ring_seconds_p90: get.column("ring_seconds_p90")?,
            unique_callers: get.column("unique_callers")?,
        })
    }
}

impl Store {
    /// Counts calls by group; at most so many groups.
    pub async fn call_statistics(
        &self,
        reach: Reach,
        filter: &CallFilter,
        grouping: Grouping<'_>,
        at_most: i64,
    ) -> Result<Vec<GroupRow>, Error> {
        let mut parameters = filter.parameters().to_vec();
        let more: [&(dyn ToSql + Sync); 5] = [
            &grouping.by,
            &at_most,
            &grouping.then_by,
            &grouping.zone,
            &grouping.details,
        ];
        parameters.extend(more);
        let rows = self.once_planned(reach, sql::GROUPED, &parameters).await?;
        rows.iter().map(GroupRow::from_row).collect()
    }
}
