//! Orders to end a call that another daemon can carry out: it watches the Asterisk that the call is on.
//!
//! Invariants: an order is taken once, and only before it expires.

use std::time::Duration;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::{CallId, ServerName, UserId};

/// The statements of the daemon itself.
pub mod worker_sql {
    crate::db::sql::statements! { "calls/sql/hangups";
        ANSWER_HANGUP = "answer_hangup",
        TAKE_HANGUPS = "take_hangups",
    }
}

/// The statements of the API.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/hangups";
        ASK = "ask",
        LOOK = "look",
    }
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Nobody has taken it yet.
    Asked,
    /// A daemon has taken it, and has not said what came of it.
    Taken,
    /// Asterisk was told; whether there was such a channel.
    Done(bool),
    /// Asterisk did not do it.
    Failed,
    /// Nobody took it in time, and nobody will.
    Expired,
}

impl Request {
    /// Asks for the end of a call on that Asterisk. Nobody does it later than `within` from now.
    pub async fn order_hang_up(
        &self,
        owner: Option<UserId>,
        call: CallId,
        server: &ServerName,
        within: Duration,
    ) -> Result<i64, Error> {
        let (owner, within) = (owner.map(|id| id.0), within.as_secs_f64());
        let row = self
            .one(sql::ASK, &[&owner, &call.0, &server.as_str(), &within])
            .await?;
        reader(sql::ASK, &row).column("order_id")
    }
}

impl Store {
    /// How an order stands.
    pub async fn hang_up_order(&self, reach: Reach, order: i64) -> Result<OrderState, Error> {
        let rows = self.once(reach, sql::LOOK, &[&order]).await?;
        let row = rows.first();
        let get = reader(
            sql::LOOK,
            row.ok_or_else(|| Error::row(sql::LOOK.name, "no row"))?,
        );
        let hung_up: Option<bool> = get.column("hung_up")?;
        match get.column::<&str>("state")? {
            "asked" => Ok(OrderState::Asked),
            "taken" => Ok(OrderState::Taken),
            "done" => Ok(OrderState::Done(hung_up.unwrap_or(false))),
            "failed" => Ok(OrderState::Failed),
            "expired" => Ok(OrderState::Expired),
            other => Err(Error::row(sql::LOOK.name, other.to_owned())),
        }
    }

    /// Takes the orders for these Asterisks: their ids, and the calls to end.
    pub async fn take_hang_ups(
        &self,
        node: &str,
        servers: &[ServerName],
    ) -> Result<Vec<(i64, CallId)>, Error> {
        const SQL: crate::db::sql::Sql = worker_sql::TAKE_HANGUPS;
        let names: Vec<&str> = servers.iter().map(ServerName::as_str).collect();
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, SQL, &[&node, &names]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(SQL, row);
                Ok((get.column("order_id")?, CallId(get.column("call_id")?)))
            })
            .collect()
    }

    /// Says what came of an order that was taken: whether there was such a channel; `None`: Asterisk did not do it.
    pub async fn answer_hang_up(&self, order: i64, hung_up: Option<bool>) -> Result<(), Error> {
        let client = self.for_background().await?;
        let told = hung_up.is_some();
        crate::db::pool::rows(
            &client,
            worker_sql::ANSWER_HANGUP,
            &[&order, &told, &hung_up],
        )
        .await?;
        Ok(())
    }
}
