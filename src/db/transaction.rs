//! Work of two round trips: what is read first goes out in one, what is written in another, with a
//! transaction around both or each statement by itself.
//!
//! tokio-postgres' own transaction type borrows its client and begins, commits and rolls back in round
//! trips of their own. Here `begin` and `commit` travel together with the statements beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::Error;
use super::connection::Connection;
use super::sql::Sql;

/// A statement's parameters.
pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How long a rollback may take.
const ROLLBACK_LIMIT: Duration = Duration::from_millis(500);

/// A connection inside a transaction. Dropped unfinished (its future was cancelled, say), the connection
/// is closed rather than given back, and the server rolls back.
pub(crate) struct Transaction {
    connection: Option<Connection>,
    begun: AtomicBool,
}

impl Transaction {
    pub(crate) fn on(connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            begun: AtomicBool::new(false),
        }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("present until finished")
    }

    pub(crate) async fn prepare(&self, sql: Sql) -> Result<Statement, Error> {
        self.connection().prepare(sql).await
    }

    /// Without it, each statement is committed by itself.
    pub(crate) async fn begin(&self) -> Result<(), Error> {
        self.begin_with("begin").await
    }

    /// Begins with more than `begin`: what else shall hold for this transaction.
    pub(crate) async fn begin_with(&self, preamble: &str) -> Result<(), Error> {
        self.begun.store(true, Ordering::Relaxed);
        self.connection().execute("begin", preamble).await
    }

    /// What returns nothing, as a savepoint.
    pub(crate) async fn command(&self, text: &'static str) -> Result<(), Error> {
        self.connection().execute(text, text).await
    }

    pub(crate) async fn query(
        &self,
        sql: Sql,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        self.connection().query(sql, statement, parameters).await
    }

    /// Runs a statement by itself.
    pub(crate) async fn run(
        &self,
        sql: Sql,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.query(sql, &statement, parameters).await
    }

    /// Runs the last statements and commits, all in one round trip, and returns the rows of the last.
    /// Should one fail, the server turns the commit into a rollback.
    pub(crate) async fn run_and_commit(
        self,
        statements: &[(Sql, Parameters<'_>)],
    ) -> Result<Vec<Row>, Error> {
        self.run_all(None, statements).await
    }

    /// A whole transaction in one round trip: with `preamble` what begins it, the statements, the commit.
    /// Returns the rows of the last statement.
    pub(crate) async fn run_all(
        self,
        preamble: Option<&str>,
        statements: &[(Sql, Parameters<'_>)],
    ) -> Result<Vec<Row>, Error> {
        let answers = self.run_each(preamble, statements).await?;
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }

    /// As [`Self::run_all`]; returns the rows of each statement.
    pub(crate) async fn run_each(
        mut self,
        preamble: Option<&str>,
        statements: &[(Sql, Parameters<'_>)],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let work = async {
            let mut prepared = Vec::with_capacity(statements.len());
            for (sql, parameters) in statements {
                prepared.push((*sql, self.prepare(*sql).await?, *parameters));
            }
            // Sent in this order: a join polls its futures in turn, and the first poll sends.
            let begin = async {
                match preamble {
                    Some(preamble) => self.begin_with(preamble).await,
                    None => Ok(()),
                }
            };
            let queries = join_all(
                prepared
                    .iter()
                    .map(|(sql, statement, parameters)| self.query(*sql, statement, parameters)),
            );
            let commit = async {
                if self.begun.load(Ordering::Relaxed) {
                    self.connection().execute("commit", "commit").await
                } else {
                    Ok(())
                }
            };
            let (started, answers, committed) = tokio::join!(biased; begin, queries, commit);
            started?;
            let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
            committed?;
            Ok(answers)
        };
        let outcome = work.await;
        self.finish(outcome.as_ref().err());
        outcome
    }

    /// Gives everything up. The connection is kept if it is still good.
    pub(crate) async fn roll_back(mut self, because: Option<&Error>) {
        if because.is_none_or(Error::leaves_connection_usable) {
            let done = !self.begun.load(Ordering::Relaxed)
                || self.connection().roll_back(ROLLBACK_LIMIT).await;
            if done {
                self.finish(None);
            }
        }
    }

    fn finish(&mut self, error: Option<&Error>) {
        if error.is_none_or(Error::leaves_connection_usable) {
            // Back to the pool.
            drop(self.connection.take());
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.throw_away();
        }
    }
}
