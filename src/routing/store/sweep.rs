//! What the periodic repair reads and writes.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::calls::ConfirmedBy;
use super::sql;
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::transaction::Transaction;
use crate::db::{Error, Store};
use crate::domain::{CallId, LinkId, ReservationId, ServerIdentity, ServerName, UniqueId};

/// A call under way, as the sweep compares it with Asterisk's channels.
#[derive(Debug, Clone)]
pub struct OpenCall {
    /// The call.
    pub call_id: CallId,
    /// The caller's channel.
    pub uniqueid: UniqueId,
    /// Name of the caller's channel.
    pub channel: String,
    /// It is known to be on the server asked for; otherwise on none that is known.
    pub on_server: bool,
    /// What its Asterisk calls itself, if the dialplan said.
    pub system_name: Option<String>,
    /// The server its address suggests.
    pub likely_server: Option<String>,
    /// When its channel was made, by its own Asterisk's clock.
    pub channel_created_at: Option<Timestamp>,
    /// The daemon that saw its channel first.
    pub seen_by: Option<String>,
    /// Another daemon saw its channel first, or was asked, and still watches: it will say when the channel is gone.
    pub watched_elsewhere: bool,
    /// Its hard limit is near.
    pub expires_soon: bool,
    /// The attempt that goes on.
    pub open: Option<OpenAttempt>,
}

/// The attempt of a call that goes on.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// 1 for the first.
    pub attempt: u32,
    /// Its slot.
    pub reservation_id: ReservationId,
    /// The endpoint dialled.
    pub endpoint: String,
    /// It is known to be answered.
    pub confirmed: bool,
    /// What told so.
    pub confirmed_by: Option<ConfirmedBy>,
}

/// A slot whose attempt is over and which waits for the target's channel.
#[derive(Debug, Clone)]
pub struct WaitingSlot {
    /// Its call.
    pub call_id: CallId,
    /// The attempt.
    pub attempt: u32,
    /// The target's channel, if it is known.
    pub leg: Option<UniqueId>,
    /// The caller's channel, if it is known.
    pub caller: Option<UniqueId>,
    /// The endpoint that was dialled.
    pub endpoint: Option<String>,
}

/// What came of noting that a server is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// Noted.
    Dead,
    /// Not noted: a daemon watches it.
    Observed {
        /// Which.
        observer: String,
        /// When it did so last.
        seconds_ago: i64,
    },
    /// There is no server of this name, nor a call of it.
    Unknown,
}

/// What another daemon sees under a server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherObserver {
    /// The name.
    pub server: String,
    /// The daemon.
    pub node: String,
    /// What that server says of itself; without a version.
    pub identity: ServerIdentity,
    /// It compared calls with channels some seconds ago.
    pub fresh: bool,
}

impl OtherObserver {
    fn of_rows(statement: Sql, rows: &[Row]) -> Result<Vec<Self>, Error> {
        let observer = |row| {
            let get = reader(statement, row);
            Ok(Self {
                server: get.column("server_name")?,
                node: get.column("node_name")?,
                identity: ServerIdentity {
                    entity_id: get.column("entity_id")?,
                    system_name: get.column("system_name")?,
                    startup_time: get.column("startup_time")?,
                    version: String::new(),
                },
                fresh: get.column("fresh")?,
            })
        };
        rows.iter().map(observer).collect()
    }
}

/// Counters that differ from the reservations they count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The link.
    pub link_id: LinkId,
    /// Counters, held and confirmed.
    pub counted: (i32, i32),
    /// Open reservations, held and confirmed.
    pub open: (i32, i32),
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Calls offered or talking.
    pub calls: i64,
    /// Reservations held.
    pub held: i64,
    /// Reservations confirmed.
    pub confirmed: i64,
}

impl Store {
    /// Calls under way on a server, or on none that is known, as daemon `node` asks.
    pub async fn open_calls(
        &self,
        server: &ServerName,
        node: &str,
    ) -> Result<Vec<OpenCall>, Error> {
        let client = self.for_background().await?;
        let rows =
            crate::db::pool::rows(&client, sql::OPEN_CALLS, &[&server.as_str(), &node]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::OPEN_CALLS, row);
                let uniqueid: String = get.column("asterisk_uniqueid")?;
                let attempt: Option<i32> = get.column("open_attempt")?;
                let endpoint: Option<String> = get.column("endpoint_id")?;
                let by: Option<String> = get.column("confirmed_by")?;
                let open = match attempt.zip(endpoint) {
                    Some((attempt, endpoint)) => Some(OpenAttempt {
                        attempt: attempt.unsigned_abs(),
                        reservation_id: ReservationId(get.column("reservation_id")?),
                        endpoint,
                        confirmed: get.column::<String>("state")? == "confirmed",
                        confirmed_by: by.as_deref().and_then(ConfirmedBy::parse),
                    }),
                    None => None,
                };
                Ok(OpenCall {
                    call_id: CallId(get.column("call_id")?),
                    uniqueid: UniqueId::parse(&uniqueid)
                        .ok_or_else(|| Error::row(sql::OPEN_CALLS.name, "asterisk_uniqueid"))?,
                    channel: get.column("channel")?,
                    on_server: get.column::<Option<String>>("server_name")?.is_some(),
                    system_name: get.column("system_name")?,
                    likely_server: get.column("likely_server_name")?,
                    channel_created_at: get.column("channel_created_at")?,
                    seen_by: get.column("seen_by")?,
                    watched_elsewhere: get.column("watched_elsewhere")?,
                    expires_soon: get.column("expires_soon")?,
                    open,
                })
            })
            .collect()
    }

    /// Notes that the channels of calls, made when Asterisk says, were seen on a server by daemon `node`.
    pub async fn adopt_calls(
        &self,
        server: &ServerName,
        calls: &[(CallId, Option<Timestamp>)],
        node: &str,
    ) -> Result<(), Error> {
        let client = self.for_background().await?;
        let (ids, made): (Vec<i64>, Vec<Option<Timestamp>>) =
            calls.iter().map(|(id, made)| (id.0, *made)).unzip();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&server.as_str(), &ids, &made, &node];
        crate::db::pool::rows(&client, sql::ADOPT_CALLS, &parameters).await?;
        Ok(())
    }

    /// Moves the hard limit of calls that are seen alive.
    pub async fn extend_calls(&self, calls: &[CallId]) -> Result<(), Error> {
        let client = self.for_background().await?;
        let ids: Vec<i64> = calls.iter().map(|id| id.0).collect();
        crate::db::pool::rows(&client, sql::EXTEND_CALLS, &[&ids]).await?;
        Ok(())
    }

    /// Slots of a server that wait for the target's channel.
    pub async fn waiting_slots(&self, server: &ServerName) -> Result<Vec<WaitingSlot>, Error> {
        let client = self.for_background().await?;
        let rows =
            crate::db::pool::rows(&client, sql::WAITING_RESERVATIONS, &[&server.as_str()]).await?;
        let id = |text: Option<String>| text.as_deref().and_then(UniqueId::parse);
        rows.iter()
            .map(|row| {
                let get = reader(sql::WAITING_RESERVATIONS, row);
                Ok(WaitingSlot {
                    call_id: CallId(get.column("call_id")?),
                    attempt: get.column::<i32>("attempt")?.unsigned_abs(),
                    leg: id(get.column("leg_uniqueid")?),
                    caller: id(get.column("caller_uniqueid")?),
                    endpoint: get.column("endpoint_id")?,
                })
            })
            .collect()
    }

    /// Slots that wait for a channel which nobody watches any more.
    pub async fn unwatched_slots(&self) -> Result<Vec<(CallId, u32)>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::UNWATCHED_RESERVATIONS, &[]).await?;
        let attempt = |row: &tokio_postgres::Row| row.get::<_, i32>("attempt").unsigned_abs();
        Ok(rows
            .iter()
            .map(|row| (CallId(row.get("call_id")), attempt(row)))
            .collect())
    }

    /// Notes that daemon `node` compares a server's channels with its calls; returns what the other daemons see.
    pub async fn observe_server(
        &self,
        server: &ServerName,
        node: &str,
        identity: &ServerIdentity,
    ) -> Result<Vec<OtherObserver>, Error> {
        let client = self.for_background().await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [
            &server.as_str(),
            &node,
            &identity.entity_id,
            &identity.system_name,
            &identity.startup_time,
        ];
        let rows = crate::db::pool::rows(&client, sql::OBSERVE_SERVER, &parameters).await?;
        OtherObserver::of_rows(sql::OBSERVE_SERVER, &rows)
    }

    /// What the daemons see that watch servers, or did within a day. Notes nothing.
    pub async fn observers(&self) -> Result<Vec<OtherObserver>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::OBSERVERS, &[]).await?;
        OtherObserver::of_rows(sql::OBSERVERS, &rows)
    }

    /// Keeps what a server says of itself. `false`: its name is another machine's, whose calls may be alive.
    pub async fn keep_server(
        &self,
        server: &ServerName,
        node: &str,
        identity: &ServerIdentity,
    ) -> Result<bool, Error> {
        let client = self.for_background().await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] = [
            &server.as_str(),
            &identity.entity_id,
            &identity.system_name,
            &identity.startup_time,
            &identity.version,
            &node,
        ];
        let rows = crate::db::pool::rows(&client, sql::KEEP_SERVER, &parameters).await?;
        Ok(!rows.is_empty())
    }

    /// Notes whether daemon `node` sees another machine under a server's name than others do.
    pub async fn contest_server(
        &self,
        server: &ServerName,
        node: &str,
        contested: bool,
    ) -> Result<(), Error> {
        let client = self.for_background().await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&server.as_str(), &node, &contested];
        crate::db::pool::rows(&client, sql::CONTEST_SERVER, &parameters).await?;
        Ok(())
    }

    /// Notes that a server will not come back, unless a daemon watches it.
    pub async fn declare_dead(&self, server: &ServerName, by: &str) -> Result<Declared, Error> {
        let client = self.for_background().await?;
        let rows =
            crate::db::pool::rows(&client, sql::DECLARE_DEAD, &[&server.as_str(), &by]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::row(sql::DECLARE_DEAD.name, "no row"))?;
        let get = reader(sql::DECLARE_DEAD, row);
        if let Some(observer) = get.column("node_name")? {
            return Ok(Declared::Observed {
                observer,
                seconds_ago: get.column("seconds_ago")?,
            });
        }
        Ok(if get.column("known")? {
            Declared::Dead
        } else {
            Declared::Unknown
        })
    }

    /// Whether a call is under way or has an open slot.
    pub async fn is_releasable(&self, call: CallId) -> Result<bool, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::IS_RELEASABLE, &[&call.0]).await?;
        Ok(rows.first().is_some_and(|row| row.get("releasable")))
    }

    /// The open slot with this id: its call, its attempt, and whether it only waits for the target's channel.
    pub async fn find_open_slot(
        &self,
        reservation: ReservationId,
    ) -> Result<Option<(CallId, u32, bool)>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::FIND_OPEN_SLOT, &[&reservation.0]).await?;
        Ok(rows.first().map(|row| {
            let attempt: i32 = row.get("attempt");
            (
                CallId(row.get("call_id")),
                attempt.unsigned_abs(),
                row.get("waits"),
            )
        }))
    }

    /// Daemon `node` does not watch a server any more.
    pub async fn leave_server(&self, server: &ServerName, node: &str) -> Result<(), Error> {
        let client = self.for_background().await?;
        crate::db::pool::rows(&client, sql::LEAVE_SERVER, &[&server.as_str(), &node]).await?;
        Ok(())
    }

    /// The turn to make the repairs that concern all daemons; `None` while another daemon has it. Held until it is
    /// dropped or given back.
    pub async fn take_sweep(&self) -> Result<Option<SweepTurn>, Error> {
        // Not one of those that the repairs need.
        let transaction = Transaction::on(self.for_jobs().await?);
        let taken = async {
            transaction.begin().await?;
            let rows = transaction.run(sql::TAKE_SWEEP, &[]).await?;
            Ok(rows.first().is_some_and(|row| row.get("taken")))
        };
        match taken.await {
            Ok(true) => Ok(Some(SweepTurn(transaction))),
            other => {
                transaction.roll_back(other.as_ref().err()).await;
                other.map(|_| None)
            }
        }
    }

    /// Calls that outlived the hard time limit and are watched by nobody.
    pub async fn overdue_calls(&self) -> Result<Vec<CallId>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::OVERDUE_CALLS, &[]).await?;
        Ok(rows.iter().map(|row| CallId(row.get("call_id"))).collect())
    }

    /// Lets go of calls that were over, before they were routed, half a minute ago.
    pub async fn end_over_calls(&self) -> Result<(), Error> {
        let client = self.for_background().await?;
        crate::db::pool::rows(&client, sql::END_OVER_CALLS, &[]).await?;
        Ok(())
    }

    /// Links whose counters differ from their open reservations.
    pub async fn usage_drift(&self) -> Result<Vec<Drift>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::USAGE_DRIFT, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| Drift {
                link_id: LinkId(row.get("link_id")),
                counted: (row.get("held"), row.get("confirmed")),
                open: (row.get("open_held"), row.get("open_confirmed")),
            })
            .collect())
    }

    /// Sets a link's counters to the count of its open reservations.
    pub async fn recount_usage(&self, link_id: LinkId) -> Result<(), Error> {
        let transaction = Transaction::on(self.for_background().await?);
        let locked = async {
            transaction.begin().await?;
            transaction.run(sql::LOCK_USAGE, &[&link_id.0]).await
        };
        if let Err(error) = locked.await {
            transaction.roll_back(Some(&error)).await;
            return Err(error);
        }
        let recounted = transaction
            .run_and_commit(&[(sql::RECOUNT_USAGE, &[&link_id.0])])
            .await;
        recounted.map(|_| ())
    }

    /// Calls whose reservations are open though the calls are not under way.
    pub async fn orphaned_reservations(&self) -> Result<Vec<CallId>, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::ORPHANED_RESERVATIONS, &[]).await?;
        Ok(rows.iter().map(|row| CallId(row.get("call_id"))).collect())
    }

    /// Takes back the open reservations of a call that is not under way.
    pub async fn expire_reservations(&self, call: CallId) -> Result<u32, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::EXPIRE_RESERVATIONS, &[&call.0]).await?;
        Ok(rows.len() as u32)
    }

    /// What is under way now.
    pub async fn activity(&self) -> Result<Activity, Error> {
        let client = self.for_background().await?;
        let rows = crate::db::pool::rows(&client, sql::ACTIVITY, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::row(sql::ACTIVITY.name, "no row"))?;
        Ok(Activity {
            calls: row.get("calls"),
            held: row.get("held"),
            confirmed: row.get("confirmed"),
        })
    }
}

/// One daemon's turn to make the repairs that concern all of them.
pub struct SweepTurn(Transaction);

impl SweepTurn {
    /// Gives the turn back.
    pub async fn finish(self) {
        self.0.roll_back(None).await;
    }
}
