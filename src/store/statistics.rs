//! Calls, counted.

use tokio_postgres::Row;

use super::logs::CallFilter;
use super::request::Reach;
use super::rows::reader;
use super::{Error, Store};

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/statistics";
        GROUPED = "grouped",
    }
}

/// A group of calls.
#[derive(Debug, Clone)]
pub struct GroupRow {
    /// Id of the campaign, client or DID.
    pub id: Option<i32>,
    /// The id, the status or the time; none where the call has no such thing.
    pub key: Option<String>,
    /// Name or number, while there is one.
    pub name: Option<String>,
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
}

impl GroupRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::GROUPED, row);
        Ok(Self {
            id: get.column("id")?,
            key: get.column("key")?,
            name: get.column("name")?,
            calls: get.column("calls")?,
            answered: get.column("answered")?,
            refused: get.column("refused")?,
            abandoned: get.column("abandoned")?,
            failed: get.column("failed")?,
            billed_seconds: get.column("billed_seconds")?,
            average_duration_seconds: get.column("average_duration_seconds")?,
        })
    }
}

impl Store {
    /// Counts calls by `campaign`, `client`, `did`, `status`, `hour` or `day`; at most so many groups.
    pub async fn call_statistics(
        &self,
        reach: Reach,
        filter: &CallFilter,
        group_by: &str,
        at_most: i64,
    ) -> Result<Vec<GroupRow>, Error> {
        let mut parameters = filter.parameters().to_vec();
        parameters.extend([
            &group_by as &(dyn tokio_postgres::types::ToSql + Sync),
            &at_most,
        ]);
        let rows = self.once_planned(reach, sql::GROUPED, &parameters).await?;
        rows.iter().map(GroupRow::from_row).collect()
    }
}
