//! Transactions of API requests: each in the role, and for the tenant, of who asks.
//!
//! What a request may see is decided here once, by role and row level security, whatever its statements
//! forget to filter. Invariant: role and tenant hold for one transaction and never leak into the next.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::Error;
use super::pool::Store;
use super::sql::Sql;
use super::transaction::{Parameters, Transaction};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "db/sql/request";
        NOTE = "note",
        NOTE_ALL = "note_all",
    }
}

/// What kinds of things the audit log tells of.
pub const OBJECTS: &[&str] = &[
    "user",
    "session",
    "key",
    "client",
    "did",
    "campaign",
    "link",
    "call",
    "reservation",
    "server",
    "recording",
    "transcription_job",
    "second_factor",
    "network",
    "erasure",
];

/// What the audit log says was done to them.
pub const ACTIONS: &[&str] = &[
    "create",
    "update",
    "delete",
    "change_password",
    "set_password",
    "end",
    "revoke",
    "confirm",
    "refuse",
    "set_dids",
    "pause",
    "resume",
    "correct_counter",
    "release",
    "declare_dead",
    "hold",
    "share",
    "retry",
    "order_links",
    "grant",
    "take_grant",
    "hang_up",
    "lock",
    "unlock",
    "revoke_all",
    "renew_recovery_codes",
    "remove",
    "reset",
    "set_limits",
    "erase",
];

/// Whose eyes a request sees with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// A seller's: rows of this owner only.
    Tenant(UserId),
    /// Administrators, staff, logins and internal callers: everything.
    Everything,
}

impl Reach {
    /// Whose rows it is about: one seller's, or all.
    pub fn owner(self) -> Option<i32> {
        match self {
            Self::Tenant(user) => Some(user.0),
            Self::Everything => None,
        }
    }

    /// As [`Self::preamble`], for statements that are planned for their parameters.
    fn planned(self) -> String {
        format!(
            "{}; set local plan_cache_mode = force_custom_plan",
            self.preamble()
        )
    }

    /// What begins a transaction of this reach. Holds no text from outside.
    pub(crate) fn preamble(self) -> String {
        match self {
            Self::Tenant(user) => format!(
                "begin; set local role capconduit_api; set local capconduit.user_id = '{}'",
                user.0
            ),
            Self::Everything => "begin; set local role capconduit_admin".to_owned(),
        }
    }
}

/// An open transaction. Dropped unfinished, it is rolled back.
pub struct Request {
    /// Until it is finished.
    transaction: Option<Transaction>,
    reach: Reach,
}

/// A change for the audit log. `before` and `after` are what the API shows of the thing.
#[derive(Debug)]
pub struct Change<'a> {
    /// Who did it.
    pub actor: &'a Actor,
    /// The tenant whose thing it is, if it is one's.
    pub tenant: Option<UserId>,
    /// What was done: `create`, `update`, `delete`, `pause`, `correct_counter`, …
    pub action: &'static str,
    /// What kind of thing: `did`, `campaign`, `link`, …
    pub object_type: &'static str,
    /// Which.
    pub object_id: String,
    /// Before the change.
    pub before: Option<serde_json::Value>,
    /// After it.
    pub after: Option<serde_json::Value>,
    /// Why, where the actor said so.
    pub reason: Option<&'a str>,
}

/// Who acts, as the audit log names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Account, if it is one.
    pub user_id: Option<UserId>,
    /// Name of the account, or of the program.
    pub name: String,
    /// `session:<id>`, `key:<id>`, `internal`, `cli`, `login`.
    pub via: String,
    /// The request it came with.
    pub request_id: String,
    /// Where from.
    pub address: String,
}

impl Store {
    /// Begins a transaction for a request.
    pub async fn request(&self, reach: Reach) -> Result<Request, Error> {
        let transaction = Transaction::on(self.for_request().await?);
        transaction.begin_with(&reach.preamble()).await?;
        Ok(Request {
            transaction: Some(transaction),
            reach,
        })
    }

    /// One statement, in a transaction of its own and in one round trip.
    pub async fn once(
        &self,
        reach: Reach,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let transaction = Transaction::on(self.for_request().await?);
        transaction
            .run_all(Some(&reach.preamble()), &[(sql, parameters)])
            .await
    }

    /// As [`Self::once`], to see who asks: on connections that requests do not use for anything else.
    pub(crate) async fn authenticate_once(
        &self,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let transaction = Transaction::on(self.for_authentication().await?);
        transaction
            .run_all(Some(&Reach::Everything.preamble()), &[(sql, parameters)])
            .await
    }

    /// Reads with several statements in one transaction and one round trip. Their plans serve any parameters,
    /// and are by index: a plan for the parameters at hand would cost more than the reading. `takes_long`: it reads much
    /// all the same.
    pub(crate) async fn read_by_index(
        &self,
        reach: Reach,
        statements: &[(Sql, Parameters<'_>)],
        takes_long: bool,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let preamble = format!(
            "{}; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off; \
             set local enable_sort = off; set local enable_bitmapscan = off",
            reach.preamble()
        );
        let connection = if takes_long {
            self.for_heavy().await?
        } else {
            self.for_request().await?
        };
        let transaction = Transaction::on(connection);
        transaction.run_each(Some(&preamble), statements).await
    }

    /// As [`Self::once`], planned anew for these parameters: for statements whose parameters decide which
    /// index serves them. These may take long, so they have connections of their own.
    pub async fn once_planned(
        &self,
        reach: Reach,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let transaction = Transaction::on(self.for_heavy().await?);
        transaction
            .run_all(Some(&reach.planned()), &[(sql, parameters)])
            .await
    }

    /// As [`Self::once_planned`], on a connection for exports.
    pub async fn once_for_export(
        &self,
        reach: Reach,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let transaction = Transaction::on(self.for_export().await?);
        transaction
            .run_all(Some(&reach.planned()), &[(sql, parameters)])
            .await
    }
}

impl Request {
    fn open(&self) -> &Transaction {
        self.transaction.as_ref().expect("open until finished")
    }

    /// Whose rows it is about: one seller's, or all.
    pub fn owner(&self) -> Option<i32> {
        self.reach.owner()
    }

    /// Runs a statement and returns its rows.
    pub async fn rows(&self, sql: Sql, parameters: Parameters<'_>) -> Result<Vec<Row>, Error> {
        self.open().run(sql, parameters).await
    }

    /// Runs a statement that finds one row or none.
    pub async fn row(&self, sql: Sql, parameters: Parameters<'_>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, parameters).await?.into_iter().next())
    }

    /// Runs a statement that always returns a row.
    pub async fn one(&self, sql: Sql, parameters: Parameters<'_>) -> Result<Row, Error> {
        let row = self.row(sql, parameters).await?;
        row.ok_or_else(|| Error::row(sql.name, "no row"))
    }

    /// Remembers how it is now, for [`Self::undo`]; what was remembered before is forgotten.
    pub async fn remember(&self) -> Result<(), Error> {
        self.open().command("savepoint remembered").await
    }

    /// Takes back what was done since [`Self::remember`], also what failed. Locks taken since then are given back.
    pub async fn undo(&self) -> Result<(), Error> {
        self.open()
            .command("rollback to savepoint remembered")
            .await
    }

    /// Notes a change in the audit log.
    pub async fn audit(&self, change: &Change<'_>) -> Result<(), Error> {
        let actor = change.actor;
        // The API's document lists them.
        debug_assert!(ACTIONS.contains(&change.action), "{}", change.action);
        debug_assert!(
            OBJECTS.contains(&change.object_type),
            "{}",
            change.object_type
        );
        self.rows(
            sql::NOTE,
            &[
                &actor.user_id.map(|id| id.0),
                &actor.name,
                &actor.via,
                &change.tenant.map(|id| id.0),
                &change.action,
                &change.object_type,
                &change.object_id,
                &change.before,
                &change.after,
                &change.reason,
                &actor.request_id,
                &actor.address,
            ],
        )
        .await?;
        Ok(())
    }

    /// Notes in the audit log that things of one kind were made, each with what it is now.
    pub async fn audit_made(
        &self,
        actor: &Actor,
        tenant: UserId,
        object_type: &'static str,
        made: &[(String, Option<serde_json::Value>)],
    ) -> Result<(), Error> {
        let (ids, after): (Vec<_>, Vec<_>) = made.iter().map(|(id, after)| (id, after)).unzip();
        self.rows(
            sql::NOTE_ALL,
            &[
                &actor.user_id.map(|id| id.0),
                &actor.name,
                &actor.via,
                &tenant.0,
                &"create",
                &object_type,
                &ids,
                &after,
                &actor.request_id,
                &actor.address,
            ],
        )
        .await?;
        Ok(())
    }

    /// Makes it so.
    pub async fn commit(mut self) -> Result<(), Error> {
        match self.transaction.take() {
            Some(open) => open.run_and_commit(&[]).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A handler that gives up leaves its transaction behind: it is rolled back, and the connection kept.
impl Drop for Request {
    fn drop(&mut self) {
        if let Some(open) = self.transaction.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(open.roll_back(None));
        }
    }
}

/// Which constraint a failed statement broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken<'a> {
    /// There is such a row already.
    Unique(&'a str),
    /// A row it refers to is not there, or is still referred to.
    Reference(&'a str),
    /// A value is out of range.
    Check(&'a str),
    /// Row level security does not allow it.
    Policy,
}

impl Error {
    /// The server does not accept a value, as the name of a time zone that it does not know.
    pub fn is_invalid_parameter(&self) -> bool {
        let Self::Statement { source, .. } = self else {
            return false;
        };
        source.code() == Some(&SqlState::INVALID_PARAMETER_VALUE)
    }

    /// The constraint that a statement broke, if that is why it failed.
    pub fn broken(&self) -> Option<Broken<'_>> {
        let Self::Statement { source, .. } = self else {
            return None;
        };
        let error = source.as_db_error()?;
        let name = error.constraint().unwrap_or_default();
        Some(match *error.code() {
            SqlState::UNIQUE_VIOLATION => Broken::Unique(name),
            SqlState::FOREIGN_KEY_VIOLATION => Broken::Reference(name),
            SqlState::CHECK_VIOLATION => Broken::Check(name),
            SqlState::INSUFFICIENT_PRIVILEGE => Broken::Policy,
            _ => return None,
        })
    }
}
