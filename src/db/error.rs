//! What can go wrong with the database, by what was being done.

use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};

use super::server::ConnectError;

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be had in time: the database is away, refuses us, or the pool is exhausted.
    #[error("cannot get a database connection")]
    Connection(#[source] Unavailable),
    /// A statement failed.
    #[error("database operation `{operation}` failed")]
    Statement {
        /// What was being done.
        operation: &'static str,
        /// The server's or the driver's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A statement did not finish in time.
    #[error("database operation `{operation}` took longer than {limit:?}")]
    Timeout {
        /// What was being done.
        operation: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// A stored value cannot be what it is.
    #[error("row of `{operation}` cannot be read: {problem}")]
    Row {
        /// What was being read.
        operation: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Others have them all.
    #[error("all connections are in use, and none came free in time")]
    AllInUse,
    /// A new one could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There will be none any more.
    #[error("the daemon is ending")]
    Ending,
}

impl Error {
    pub(crate) fn statement(operation: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Statement { operation, source }
    }

    pub(crate) fn row(operation: &'static str, problem: impl Into<String>) -> Self {
        Self::Row {
            operation,
            problem: problem.into(),
        }
    }

    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Statement { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Another transaction was in the way; the same work may well succeed at once.
    pub fn is_contention(&self) -> bool {
        self.state().is_some_and(|state| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::UNIQUE_VIOLATION,
                SqlState::FOREIGN_KEY_VIOLATION,
            ]
            .contains(state)
        })
    }

    /// A lock was not had in time.
    pub fn is_lock_timeout(&self) -> bool {
        self.state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// A statement was given up because it waited for others, or took too long.
    pub fn is_overload(&self) -> bool {
        self.state().is_some_and(|state| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::QUERY_CANCELED,
            ]
            .contains(state)
        })
    }

    /// The server answered, and the connection is as good as before.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self {
            Self::Statement { source, .. } => source.as_db_error().is_some_and(|error| {
                let fatal = matches!(
                    error.parsed_severity(),
                    Some(Severity::Fatal | Severity::Panic)
                );
                // 08: the connection failed; 57P: the server is going away; 25006: it has become a read-only standby.
                let code = error.code().code();
                !fatal
                    && !code.starts_with("08")
                    && !code.starts_with("57P")
                    && *error.code() != SqlState::READ_ONLY_SQL_TRANSACTION
            }),
            _ => false,
        }
    }

    /// The server takes no writes (any more).
    pub(crate) fn is_read_only(&self) -> bool {
        self.state() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// There is a database, but others have all connections for this purpose.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Connection(Unavailable::AllInUse))
    }

    /// The connection broke under the operation, so that it may or may not have been carried out.
    pub fn is_lost_connection(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout { .. } => true,
            Self::Statement { .. } => !self.leaves_connection_usable(),
            Self::Row { .. } => false,
        }
    }
}
