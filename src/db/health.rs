//! How the database itself is: what the daemon looks at so that somebody is told in time.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::connection::Connection;
use super::rows::reader;
use super::server::{Opened, Server};
use super::{ConnectError, Error, Settings, Store};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "db/sql";
        DATABASE_CLOCK = "database_clock",
        OLDEST_SNAPSHOT = "oldest_snapshot",
    }
}

/// How often the clocks are compared in one go; the quickest answer says most.
const SAMPLES: usize = 3;

/// How often [`keeps_sessions`] looks.
const ROUNDS: usize = 5;

/// The oldest view of the database that a transaction has: no row version newer than it can be cleared away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OldestSnapshot {
    /// Its age; 0 without one.
    pub seconds: f64,
    /// Sessions that may not be looked at: the owner of the schema lacks `pg_read_all_stats`.
    pub hidden: i64,
}

impl Store {
    /// The oldest snapshot.
    pub async fn oldest_snapshot(&self) -> Result<OldestSnapshot, Error> {
        let client = self.for_background().await?;
        let rows = client.rows(sql::OLDEST_SNAPSHOT, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::row(sql::OLDEST_SNAPSHOT.name, "no row"))?;
        let get = reader(sql::OLDEST_SNAPSHOT, row);
        Ok(OldestSnapshot {
            seconds: get.column("seconds")?,
            hidden: get.column("hidden")?,
        })
    }

    /// This host's clock, which `now` reads, minus the database's.
    pub async fn clock_offset(&self, now: fn() -> Timestamp) -> Result<SignedDuration, Error> {
        let client = self.for_background().await?;
        let mut best: Option<(std::time::Duration, SignedDuration)> = None;
        // The first answer also prepares the statement.
        for _ in 0..=SAMPLES {
            let sample = compare_clocks(&client, now).await?;
            if best.is_none_or(|(took, _)| sample.0 < took) {
                best = Some(sample);
            }
        }
        Ok(best.map_or(SignedDuration::ZERO, |(_, offset)| offset))
    }
}

/// How long the question took, and the offset.
async fn compare_clocks(
    client: &Connection,
    now: fn() -> Timestamp,
) -> Result<(std::time::Duration, SignedDuration), Error> {
    let (before, asked) = (now(), Instant::now());
    let rows = client.rows(sql::DATABASE_CLOCK, &[]).await?;
    let took = asked.elapsed();
    let row = rows
        .first()
        .ok_or_else(|| Error::row(sql::DATABASE_CLOCK.name, "no row"))?;
    let there: Timestamp = reader(sql::DATABASE_CLOCK, row).column("now")?;
    let half = SignedDuration::try_from(took / 2).unwrap_or_default();
    Ok((took, before.duration_since(there) + half))
}

/// Whether a session is one server process for as long as we are connected. `false`: a pooler before the database gives
/// a process to each transaction (`PgBouncer`'s `pool_mode = transaction`), so that roles, settings and prepared
/// statements of one session appear in another. `true` is no proof where others use the pooler at the same time.
pub async fn keeps_sessions(settings: &Settings) -> Result<bool, ConnectError> {
    let limit = std::time::Duration::from_secs(5);
    let server = Server::new(settings)?;
    let asked = async {
        let one = server.open("capconduit check").await?;
        let other = server.open("capconduit check").await?;
        let failed = |source| ConnectError::Connect {
            server: server.names(),
            source,
        };
        for _ in 0..ROUNDS {
            let mine = process_of(&one).await.map_err(failed)?;
            // While the other keeps a process to itself, mine is still mine, and no other's.
            other.client.batch_execute("begin").await.map_err(failed)?;
            let its = process_of(&other).await.map_err(failed)?;
            let still = process_of(&one).await.map_err(failed)?;
            other
                .client
                .batch_execute("rollback")
                .await
                .map_err(failed)?;
            if mine == its || mine != still {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let kept = tokio::time::timeout(limit, asked).await;
    kept.unwrap_or_else(|_| {
        Err(ConnectError::Silent {
            servers: server.names(),
            limit,
        })
    })
}

async fn process_of(session: &Opened) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = session
        .client
        .simple_query("select pg_backend_pid()")
        .await?;
    Ok(answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
