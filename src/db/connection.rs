//! One connection, lent by a pool: every wait for the server ends, and a connection that may be silent is never given
//! back.
//!
//! The kernel finds a host that is gone; it does not find a server that hangs, or a balancer that keeps a connection
//! whose server is gone. So each wait has a deadline here, on our side of the wire. Invariant: a connection goes back to
//! its pool only if every question put to it was answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use futures_util::future::try_join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Row, Statement};

use super::Error;
use super::server::{Cluster, ConnectError, Opened, Server, Trust};
use super::sql::Sql;
use super::transaction::Parameters;

/// What a pool gives.
pub(crate) type Object = managed::Object<Maker>;

/// A wait as long as this says something about the other connections, too, when it is given up.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// Longest time for a connection to answer that may have fallen silent with another.
const SIGN_OF_LIFE: Duration = Duration::from_millis(300);

/// Makes the connections of one pool.
pub(crate) struct Maker {
    pub(crate) server: Arc<Server>,
    pub(crate) application_name: String,
    /// What a session sets first.
    pub(crate) session: &'static str,
    /// Prepared when the connection is made, so that no call pays for it under a lock.
    pub(crate) prepared: &'static [Sql],
}

/// A session on the server, with its prepared statements.
pub(crate) struct Session {
    client: Client,
    cluster: Option<Cluster>,
    carrier: JoinHandle<()>,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl managed::Manager for Maker {
    type Type = Session;
    type Error = ConnectError;

    async fn create(&self) -> Result<Session, ConnectError> {
        let Opened {
            client,
            cluster,
            carrier,
        } = self.server.open(&self.application_name).await?;
        let session = Session {
            client,
            cluster,
            carrier,
            statements: Mutex::default(),
        };
        let began = async {
            session.client.batch_execute(self.session).await?;
            session.make_ready(self.prepared).await
        };
        began.await.map_err(|source| ConnectError::Connect {
            server: self.server.names(),
            source,
        })?;
        Ok(session)
    }

    async fn recycle(
        &self,
        session: &mut Session,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if session.client.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        if !self.server.is_current(session.cluster) {
            return Err(RecycleError::message("leads to an old primary"));
        }
        match self
            .server
            .trust(metrics.recycled.unwrap_or(metrics.created))
        {
            Trust::Good => {}
            Trust::Doubtful => {
                let asked = session.client.simple_query("");
                if !matches!(tokio::time::timeout(SIGN_OF_LIFE, asked).await, Ok(Ok(_))) {
                    self.server.trust_none();
                    return Err(RecycleError::message("gives no sign of life"));
                }
            }
            Trust::None => return Err(RecycleError::message("fell silent with others")),
        }
        Ok(())
    }
}

impl Session {
    async fn prepare(&self, sql: Sql) -> Result<Statement, tokio_postgres::Error> {
        let known = self.statements().get(sql.name).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql.text).await?;
        self.statements().insert(sql.name, statement.clone());
        Ok(statement)
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares statements and has the server plan them now: a plan is otherwise made at the first use, by a
    /// call that waits.
    async fn make_ready(&self, sql: &[Sql]) -> Result<(), tokio_postgres::Error> {
        if sql.is_empty() {
            return Ok(());
        }
        try_join_all(sql.iter().map(|sql| self.prepare(*sql))).await?;
        let prepared = "select format('explain execute %I%s', name, case cardinality(parameter_types)
                when 0 then '' else '(' || repeat('null, ', cardinality(parameter_types) - 1) || 'null)' end)
            from pg_prepared_statements where not from_sql";
        for row in self.client.query(prepared, &[]).await? {
            self.client.batch_execute(row.get(0)).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// How long the server may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// For all that is done with the connection, from when it was lent: somebody waits for the answer.
    Whole(Duration),
    /// For each answer: there may be many.
    EachAnswer(Duration),
}

/// A connection that was lent.
pub(crate) struct Connection {
    /// Until it is given back or thrown away.
    object: Option<Object>,
    server: Arc<Server>,
    lent: Instant,
    patience: Patience,
    waits: Mutex<Waits>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Questions that were put to the server.
#[derive(Default)]
struct Waits {
    /// Not answered yet, or never.
    open: u32,
    /// The last one was put then.
    asked: Option<Instant>,
    /// An answer said that the connection cannot be used any more.
    broken: bool,
    /// The silence was told of.
    told: bool,
}

impl Connection {
    pub(crate) fn new(
        object: Object,
        server: Arc<Server>,
        patience: Patience,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            object: Some(object),
            server,
            lent: Instant::now(),
            patience,
            waits: Mutex::default(),
            _turn: turn,
        }
    }

    fn session(&self) -> &Session {
        self.object.as_ref().expect("present until dropped")
    }

    /// The client itself, for use inside [`Self::wait`].
    pub(crate) fn client(&self) -> &Client {
        &self.session().client
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the server's answer, no longer than it may take.
    pub(crate) async fn wait<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let outcome = self.wait_for(operation, work).await?;
        let outcome = outcome.map_err(Error::statement(operation));
        if outcome
            .as_ref()
            .is_err_and(|error| !error.leaves_connection_usable())
        {
            self.waits().broken = true;
        }
        if outcome.as_ref().is_err_and(Error::is_read_only) {
            // So are all others, and another server may have become the primary.
            self.server.trust_none();
        }
        outcome
    }

    /// As [`Self::wait`], for work with errors of its own.
    pub(crate) async fn wait_for<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let now = Instant::now();
        let (until, limit) = match self.patience {
            Patience::Whole(limit) => (self.lent + limit, limit),
            Patience::EachAnswer(limit) => (now + limit, limit),
        };
        if until <= now {
            // Not asked: an answer would come too late, and what was asked would be carried out all the same.
            return Err(Error::Timeout { operation, limit });
        }
        {
            let mut waits = self.waits();
            waits.open += 1;
            waits.asked = Some(now);
        }
        // Dropped before its end, the wait stays open, and the connection is not given back.
        let Ok(outcome) = tokio::time::timeout_at(until.into(), work).await else {
            self.waits().told = true;
            self.server.note_silence(operation);
            return Err(Error::Timeout { operation, limit });
        };
        self.waits().open -= 1;
        Ok(outcome)
    }

    pub(crate) async fn prepare(&self, sql: Sql) -> Result<Statement, Error> {
        let known = self.session().statements().get(sql.name).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        self.wait(sql.name, self.session().prepare(sql)).await
    }

    /// Runs a statement that was prepared once per connection.
    pub(crate) async fn rows(
        &self,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.query(sql, &statement, parameters).await
    }

    pub(crate) async fn query(
        &self,
        sql: Sql,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        self.wait(sql.name, self.client().query(statement, parameters))
            .await
    }

    pub(crate) async fn execute(
        &self,
        operation: &'static str,
        statements: &str,
    ) -> Result<(), Error> {
        self.wait(operation, self.client().batch_execute(statements))
            .await
    }

    /// Rolls back. `true`: the server answered this, and so everything that was asked before.
    pub(crate) async fn roll_back(&self, limit: Duration) -> bool {
        let done = tokio::time::timeout(limit, self.client().batch_execute("rollback")).await;
        let answered = matches!(done, Ok(Ok(())));
        let mut waits = self.waits();
        if answered {
            waits.open = 0;
        } else {
            waits.broken = true;
        }
        answered
    }

    /// Does not give it back: the server ends what was begun on it.
    pub(crate) fn throw_away(mut self) {
        self.discard();
    }

    fn discard(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

/// Who waits longer than this for an answer asks what may take long.
const PATIENT: Duration = Duration::from_secs(5);

impl Drop for Connection {
    fn drop(&mut self) {
        let waits = self.waits();
        let unanswered = waits.open > 0;
        let long = waits.asked.is_some_and(|at| at.elapsed() >= SUSPICIOUS);
        let (told, broken) = (waits.told, waits.broken);
        drop(waits);
        // Requests of the API may take long, and whoever asked may leave: that says nothing of the server.
        let patient = matches!(self.patience, Patience::EachAnswer(limit) if limit > PATIENT);
        if unanswered && long && !told && !patient {
            self.server
                .note_silence("a question that nobody waits for any more");
        }
        if unanswered || broken {
            self.discard();
        }
    }
}
