//! The audit log, as people read it.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;

use crate::db::request::Reach;
use crate::db::rows::{reader, total_of};
use crate::db::{Error, Store};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/audit";
        LIST = "list",
    }

    /// How many [`LIST`] finds.
    pub const COUNT: crate::db::sql::Sql = crate::db::sql::count_of!("accounts/sql/audit", "list");
}

/// Which entries to read. What is `None` does not restrict.
#[derive(Debug)]
pub struct AuditFilter<'a> {
    /// `-at` or `at`.
    pub sort: &'static str,
    /// Only those after this one, in that order.
    pub after: Option<i64>,
    /// With this text in the actor's name, the id, the reason, or in what was there before or after.
    pub text: Option<&'a str>,
    /// Whether that is also looked for in accounts.
    pub searches_accounts: bool,
    /// Of this tenant's things.
    pub user_id: Option<i32>,
    /// By this account or program.
    pub actor: Option<&'a str>,
    /// Of things of this type.
    pub object_type: Option<&'a str>,
    /// Of the thing with this id.
    pub object_id: Option<&'a str>,
    /// Where this was done.
    pub action: Option<&'a str>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// An entry.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its id; later entries have higher ones.
    pub audit_id: i64,
    /// When.
    pub at: Timestamp,
    /// Account that did it.
    pub actor_id: Option<i32>,
    /// Its name, or the program's.
    pub actor: String,
    /// `session:<id>`, `key:<id>`, `internal`, `cli`, `login`.
    pub via: String,
    /// The tenant whose thing it is.
    pub user_id: Option<i32>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub object_type: String,
    /// To which.
    pub object_id: String,
    /// Before.
    pub before: Option<Value>,
    /// After.
    pub after: Option<Value>,
    /// Why, where the actor said so.
    pub reason: Option<String>,
    /// The request it came with.
    pub request_id: Option<String>,
    /// Where from.
    pub address: Option<String>,
}

impl AuditRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::LIST, row);
        Ok(Self {
            audit_id: get.column("audit_id")?,
            at: get.column("at")?,
            actor_id: get.column("actor_id")?,
            actor: get.column("actor")?,
            via: get.column("via")?,
            user_id: get.column("user_id")?,
            action: get.column("action")?,
            object_type: get.column("object_type")?,
            object_id: get.column("object_id")?,
            before: get.column("before")?,
            after: get.column("after")?,
            reason: get.column("reason")?,
            request_id: get.column("request_id")?,
            address: get.column("address")?,
        })
    }
}

impl Store {
    /// Entries of the audit log in their order, `limit` at most.
    pub async fn audit_log(
        &self,
        reach: Reach,
        filter: &AuditFilter<'_>,
        limit: i64,
    ) -> Result<Vec<AuditRow>, Error> {
        let rows = self
            .once_planned(
                reach,
                sql::LIST,
                &[
                    &filter.after,
                    &limit,
                    &filter.user_id,
                    &filter.actor,
                    &filter.object_type,
                    &filter.object_id,
                    &filter.action,
                    &filter.from,
                    &filter.to,
                    &filter.sort,
                    &filter.text,
                    &filter.searches_accounts,
                ],
            )
            .await?;
        rows.iter().map(AuditRow::from_row).collect()
    }

    /// How many entries a filter leaves.
    pub async fn audit_total(&self, reach: Reach, filter: &AuditFilter<'_>) -> Result<i64, Error> {
        let nothing = None::<i64>;
        let rows = self
            .once_planned(
                reach,
                sql::COUNT,
                &[
                    &nothing,
                    &nothing,
                    &filter.user_id,
                    &filter.actor,
                    &filter.object_type,
                    &filter.object_id,
                    &filter.action,
                    &filter.from,
                    &filter.to,
                    &filter.sort,
                    &filter.text,
                    &filter.searches_accounts,
                ],
            )
            .await?;
        total_of(sql::COUNT, &rows)
    }
}
