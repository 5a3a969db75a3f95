//! The Asterisk servers as rows, and what people end by hand.

use jiff::Timestamp;

use super::request::Reach;
use super::rows::reader;
use super::{Error, Store};
use crate::domain::{CallId, ReservationId, ServerName};
use crate::store::sql as queries;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/servers";
        LIST = "list",
    }
}

/// An Asterisk server.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Its name in the configuration of those who observe it.
    pub name: String,
    /// Asterisk's entity id.
    pub entity_id: Option<String>,
    /// Asterisk's system name, the beginning of its unique ids.
    pub system_name: Option<String>,
    /// When Asterisk started.
    pub startup_time: Option<Timestamp>,
    /// Asterisk's version.
    pub version: Option<String>,
    /// The daemon that observes it, or did last.
    pub observer: Option<String>,
    /// When an observer saw it last.
    pub heartbeat: Timestamp,
    /// How long ago that was, by the database's clock.
    pub seconds_ago: i64,
    /// When it was declared dead.
    pub declared_dead_at: Option<Timestamp>,
    /// By whom.
    pub declared_dead_by: Option<String>,
    /// Calls on it that are under way.
    pub calls_under_way: i64,
}

/// What became of a declaration that a server is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// It is noted.
    Noted,
    /// It is not: somebody saw it.
    Observed {
        /// The daemon that did.
        observer: String,
        /// How long ago.
        seconds_ago: i64,
    },
    /// There is no such server.
    Unknown,
}

impl Store {
    /// All servers, by name.
    pub async fn servers(&self) -> Result<Vec<ServerRow>, Error> {
        let rows = self.once(Reach::Everything, sql::LIST, &[]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::LIST, row);
                Ok(ServerRow {
                    name: get.column("name")?,
                    entity_id: get.column("entity_id")?,
                    system_name: get.column("system_name")?,
                    startup_time: get.column("startup_time")?,
                    version: get.column("version")?,
                    observer: get.column("observer")?,
                    heartbeat: get.column("heartbeat")?,
                    seconds_ago: get.column::<i64>("seconds_ago")?.max(0),
                    declared_dead_at: get.column("declared_dead_at")?,
                    declared_dead_by: get.column("declared_dead_by")?,
                    calls_under_way: get.column("calls_under_way")?,
                })
            })
            .collect()
    }

    /// Notes that a server is dead, unless an observer saw it within so many seconds.
    pub async fn declare_server_dead(
        &self,
        server: &ServerName,
        by: &str,
        unseen_seconds: i64,
    ) -> Result<Declared, Error> {
        let sql = queries::DECLARE_SERVER_DEAD;
        let client = self.for_background().await?;
        let rows =
            super::pool::rows(&client, sql, &[&server.as_str(), &by, &unseen_seconds]).await?;
        let Some(row) = rows.first() else {
            return Ok(Declared::Unknown);
        };
        let get = reader(sql, row);
        if get.column("declared")? {
            return Ok(Declared::Noted);
        }
        Ok(Declared::Observed {
            observer: get
                .column::<Option<String>>("observer")?
                .unwrap_or_default(),
            seconds_ago: get.column("seconds_ago")?,
        })
    }

    /// Whether a call is under way or still has a slot.
    pub async fn is_call_open(&self, call: CallId) -> Result<bool, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, queries::IS_CALL_OPEN, &[&call.0]).await?;
        Ok(rows.first().is_some_and(|row| row.get("open")))
    }

    /// The call whose slot a reservation holds, if it is open.
    pub async fn call_of_open_reservation(
        &self,
        reservation: ReservationId,
    ) -> Result<Option<CallId>, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, queries::OPEN_RESERVATION, &[&reservation.0]).await?;
        Ok(rows.first().map(|row| CallId(row.get("call_id"))))
    }
}
