//! What the periodic repair reads and writes.

use jiff::Timestamp;

use super::calls::{AttemptEnd, Outcome, SettledAttempt};
use super::rows::reader;
use super::sql;
use super::transaction::Transaction;
use super::{Error, Store};
use crate::domain::{CallId, LinkId, ServerName, UniqueId};

/// A call under way, as the sweep compares it with Asterisk's channels.
#[derive(Debug, Clone)]
pub struct OpenCall {
    /// The call.
    pub call_id: CallId,
    /// The caller's channel.
    pub uniqueid: UniqueId,
    /// It is known to be on the server asked for; otherwise on none that is known.
    pub on_server: bool,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// The attempt that is held and not known to be answered, with its endpoint.
    pub held: Option<(u32, String)>,
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
    /// Calls under way on a server, or on none that is known.
    pub async fn open_calls(&self, server: &ServerName) -> Result<Vec<OpenCall>, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, sql::OPEN_CALLS, &[&server.as_str()]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::OPEN_CALLS, row);
                let uniqueid: String = get.column("asterisk_uniqueid")?;
                let attempt: Option<i32> = get.column("held_attempt")?;
                let endpoint: Option<String> = get.column("held_endpoint")?;
                Ok(OpenCall {
                    call_id: CallId(get.column("call_id")?),
                    uniqueid: UniqueId::parse(&uniqueid)
                        .ok_or_else(|| Error::row(sql::OPEN_CALLS.name, "asterisk_uniqueid"))?,
                    on_server: get.column::<Option<String>>("server_name")?.is_some(),
                    started_at: get.column("started_at")?,
                    held: attempt.map(i32::unsigned_abs).zip(endpoint),
                })
            })
            .collect()
    }

    /// Notes that calls are on a server.
    pub async fn adopt_calls(&self, server: &ServerName, calls: &[CallId]) -> Result<(), Error> {
        let client = self.for_background().await?;
        let ids: Vec<i64> = calls.iter().map(|id| id.0).collect();
        super::pool::rows(&client, sql::ADOPT_CALLS, &[&server.as_str(), &ids]).await?;
        Ok(())
    }

    /// Calls that outlived the hard time limit.
    pub async fn overdue_calls(&self, now: Timestamp) -> Result<Vec<CallId>, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, sql::OVERDUE_CALLS, &[&now]).await?;
        Ok(rows.iter().map(|row| CallId(row.get("call_id"))).collect())
    }

    /// Lets go of calls that were over, before they were routed, by a time.
    pub async fn end_over_calls(&self, before: Timestamp) -> Result<(), Error> {
        let client = self.for_background().await?;
        super::pool::rows(&client, sql::END_OVER_CALLS, &[&before]).await?;
        Ok(())
    }

    /// Links whose counters differ from their open reservations.
    pub async fn usage_drift(&self) -> Result<Vec<Drift>, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, sql::USAGE_DRIFT, &[]).await?;
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
        let rows = super::pool::rows(&client, sql::ORPHANED_RESERVATIONS, &[]).await?;
        Ok(rows.iter().map(|row| CallId(row.get("call_id"))).collect())
    }

    /// Takes back the open reservations of a call that is not under way.
    pub async fn expire_reservations(&self, call: CallId, at: Timestamp) -> Result<(), Error> {
        let client = self.for_background().await?;
        let lost = AttemptEnd {
            outcome: Outcome::Lost,
            status: None,
            cause: None,
            answered_at: None,
            at,
        };
        let values = SettledAttempt::of(call, &lost);
        super::pool::rows(&client, sql::SETTLE_ATTEMPT, &values.parameters()).await?;
        Ok(())
    }

    /// What is under way now.
    pub async fn activity(&self) -> Result<Activity, Error> {
        let client = self.for_background().await?;
        let rows = super::pool::rows(&client, sql::ACTIVITY, &[]).await?;
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
