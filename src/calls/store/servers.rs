//! The Asterisk servers as rows, for those who look at them.

use jiff::Timestamp;

use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::{Error, Store};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/servers";
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
}
