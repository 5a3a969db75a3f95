//! What concerns security: who logged in, or could not, and who heard, read, searched and took away what.
//!
//! Events are noted beside what they tell of, never in its transaction: a log-in does not wait for its event.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/security";
        LIST = "list",
        NOTE = "note",
        SEE_NETWORK = "see_network",
    }
}

/// An event to be noted.
#[derive(Debug, Clone, Serialize)]
pub struct SecurityEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `login`, `login_failed`, …
    pub event: &'static str,
    /// Account that did it, if it is one.
    pub actor_id: Option<i32>,
    /// Its name.
    pub actor: Option<String>,
    /// Its role.
    pub actor_role: Option<&'static str>,
    /// How it was let in: `session:<id>`, `key:<id>`.
    pub via: Option<String>,
    /// The seller whom it concerns.
    pub user_id: Option<i32>,
    /// What kind of thing it was about: `call`, `key`, …
    pub object_type: Option<&'static str>,
    /// Which.
    pub object_id: Option<String>,
    /// What else there is to know. Never a secret.
    pub detail: Option<Value>,
    /// The request it came with.
    pub request_id: String,
    /// Where from.
    pub address: String,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// Which events to read. What is `None` does not restrict.
#[derive(Debug, Default)]
pub struct SecurityFilter<'a> {
    /// `-at` or `at`.
    pub sort: &'static str,
    /// Only those after this one, in that order.
    pub after: Option<i64>,
    /// With this text in names, ids and details, and where they are shown in address and program.
    pub text: Option<&'a str>,
    /// Concerning this seller.
    pub user_id: Option<i32>,
    /// By this account.
    pub actor_id: Option<i32>,
    /// By the account of this name.
    pub actor: Option<&'a str>,
    /// Of this kind.
    pub event: Option<&'a str>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// From this address.
    pub address: Option<&'a str>,
    /// Only what sellers, strangers and this account did.
    pub seen_by_staff: Option<i32>,
    /// Only what this account did, or what concerns it.
    pub own: Option<i32>,
}

/// An event that was noted.
#[derive(Debug, Clone)]
pub struct SecurityRow {
    /// Its id; later events have higher ones.
    pub event_id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: String,
    /// Account that did it.
    pub actor_id: Option<i32>,
    /// Its name.
    pub actor: Option<String>,
    /// How it was let in.
    pub via: Option<String>,
    /// The seller whom it concerns.
    pub user_id: Option<i32>,
    /// What kind of thing it was about.
    pub object_type: Option<String>,
    /// Which.
    pub object_id: Option<String>,
    /// What else there is to know.
    pub detail: Option<Value>,
    /// The request it came with.
    pub request_id: Option<String>,
    /// Where from.
    pub address: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

impl Store {
    /// Notes events, all or none.
    pub async fn note_security_events(&self, events: &[SecurityEvent]) -> Result<(), Error> {
        let events = serde_json::to_value(events)
            .map_err(|error| Error::row(sql::NOTE.name, error.to_string()))?;
        self.once(Reach::Everything, sql::NOTE, &[&events]).await?;
        Ok(())
    }

    /// Events in their order, `limit` at most.
    pub async fn security_events(
        &self,
        reach: Reach,
        filter: &SecurityFilter<'_>,
        limit: i64,
    ) -> Result<Vec<SecurityRow>, Error> {
        let rows = self
            .once_planned(
                reach,
                sql::LIST,
                &[
                    &filter.after,
                    &limit,
                    &filter.user_id,
                    &filter.actor_id,
                    &filter.actor,
                    &filter.event,
                    &filter.from,
                    &filter.to,
                    &filter.address,
                    &filter.seen_by_staff,
                    &filter.own,
                    &filter.sort,
                    &filter.text,
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::LIST, row);
                Ok(SecurityRow {
                    event_id: get.column("event_id")?,
                    at: get.column("at")?,
                    event: get.column("event")?,
                    actor_id: get.column("actor_id")?,
                    actor: get.column("actor")?,
                    via: get.column("via")?,
                    user_id: get.column("user_id")?,
                    object_type: get.column("object_type")?,
                    object_id: get.column("object_id")?,
                    detail: get.column("detail")?,
                    request_id: get.column("request_id")?,
                    address: get.column("address")?,
                    user_agent: get.column("user_agent")?,
                })
            })
            .collect()
    }

    /// Notes that a key was used from a network. How many it was used from before, if this one is new.
    pub async fn see_key_network(
        &self,
        key_id: i64,
        user: UserId,
        network: &str,
    ) -> Result<Option<i64>, Error> {
        let rows = self
            .once(
                Reach::Everything,
                sql::SEE_NETWORK,
                &[&key_id, &user.0, &network],
            )
            .await?;
        let row = rows.first();
        row.map(|row| reader(sql::SEE_NETWORK, row).column("known"))
            .transpose()
    }
}
