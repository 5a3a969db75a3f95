//! Schema migrations: forward only, embedded, each in a transaction of its own, one daemon at a time.
//!
//! A file may be divided into steps by lines that begin with [`STEP`]. Each step is then a transaction of its own, so
//! that a lock is held on one table and for a moment; a step that builds an index `concurrently` has none. A file that
//! was broken off is run again from its first step, so steps may find their work done.
//!
//! A table of what was applied holds each file's checksum, so that an edited migration is found out. The
//! session lock is taken on the migrating connection itself and goes with it.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::digest::hex;

/// One file of `sql/migrations`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, …
    pub version: i32,
    /// File name without number and ending.
    pub name: &'static str,
    sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!(
                "../../sql/migrations/000",
                $version,
                "_",
                $name,
                ".sql"
            )),
        }
    };
}

/// All of them, in order.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "catalogue"),
    migration!(2, "calls"),
    migration!(3, "access"),
    migration!(4, "api"),
    migration!(5, "recordings"),
    migration!(6, "ownership"),
    migration!(7, "realtime"),
    migration!(8, "growth"),
    migration!(9, "numbers"),
];

/// The version this program works with.
pub const CURRENT: i32 = MIGRATIONS.len() as i32;

/// What a line begins with that divides a file into steps.
const STEP: &str = "-- step:";

/// What a step has that PostgreSQL runs outside a transaction only.
const CONCURRENTLY: &str = "create index concurrently";

/// How long a step waits for a lock on a table. The calls that come after it wait behind it, and give up after 200 ms.
const TABLE_LOCK_WAIT: &str = "set lock_timeout = '50ms'";

/// So long a step that did not get its lock is tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(60);

/// Calls go on between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// How long to wait for another daemon that is migrating.
const LOCK_WAIT: Duration = Duration::from_secs(120);

/// Any number, but always this one: "capconduit" folded into 63 bits.
const LOCK: i64 = 0x6361_7063_6f6e_6475;

/// Why the schema is not, or could not be made, what this program needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database answered with an error.
    #[error("cannot {action}")]
    Database {
        /// What was being done.
        action: String,
        /// The server's answer.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Another process holds the migration lock for too long.
    #[error("another process has been migrating this database for {}s", LOCK_WAIT.as_secs())]
    Locked,
    /// An applied migration is not the one in this program.
    #[error(
        "migration {version} was applied as {applied:?} with other contents than this program has"
    )]
    Changed {
        /// Its number.
        version: i32,
        /// Its recorded name.
        applied: String,
    },
    /// Nothing, or not everything, was applied.
    #[error(
        "the schema is at version {found}, this program needs {CURRENT}: run `capconduit migrate`"
    )]
    Behind {
        /// Version found.
        found: i32,
    },
    /// The database was migrated by a newer program.
    #[error(
        "the schema is at version {found}, this program knows {CURRENT}: install the newer program"
    )]
    Ahead {
        /// Version found.
        found: i32,
    },
}

fn failed(action: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let action = action.into();
    |source| Error::Database { action, source }
}

/// Brings the schema up to date and returns what was applied now. Any number of processes may do so at
/// once: one works, the others wait and find it done.
pub async fn migrate(client: &mut Client) -> Result<Vec<Migration>, Error> {
    let wait = format!("set lock_timeout = '{}s'", LOCK_WAIT.as_secs());
    let set = client.batch_execute(&wait).await;
    set.map_err(failed("set the lock timeout"))?;
    let locked = client
        .execute("select pg_advisory_lock($1)", &[&LOCK])
        .await;
    if let Err(error) = locked {
        return Err(if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            Error::Locked
        } else {
            failed("take the migration lock")(error)
        });
    }
    let outcome = apply_missing(client).await;
    let unlocked = client
        .batch_execute(&format!("select pg_advisory_unlock({LOCK})"))
        .await;
    let applied = outcome?;
    unlocked.map_err(failed("give the migration lock back"))?;
    Ok(applied)
}

async fn apply_missing(client: &mut Client) -> Result<Vec<Migration>, Error> {
    client
        .batch_execute(TABLE_LOCK_WAIT)
        .await
        .map_err(failed("set the lock timeout"))?;
    client
        .batch_execute(
            "create table if not exists schema_migrations (
                 version int primary key,
                 name text not null,
                 checksum text not null,
                 applied_at timestamptz not null default now());
             grant select on schema_migrations to public",
        )
        .await
        .map_err(failed("prepare the table of migrations"))?;
    let found = verify(client).await?;
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        let steps = migration.steps();
        for (n, step) in steps.iter().enumerate() {
            let last = n + 1 == steps.len();
            apply_patiently(client, migration, step, last).await?;
        }
        applied.push(*migration);
    }
    Ok(applied)
}

/// Applies a step, again and again while a lock that it needs is taken.
async fn apply_patiently(
    client: &mut Client,
    migration: &Migration,
    step: &str,
    last: bool,
) -> Result<(), Error> {
    let deadline = Instant::now() + TRIED_AGAIN;
    loop {
        let Err(error) = apply(client, migration, step, last).await else {
            return Ok(());
        };
        let locked = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        if !locked || Instant::now() >= deadline {
            let action = format!("apply migration {} ({})", migration.version, migration.name);
            return Err(failed(action)(error));
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn apply(
    client: &mut Client,
    migration: &Migration,
    step: &str,
    last: bool,
) -> Result<(), tokio_postgres::Error> {
    let concurrently = step.contains(CONCURRENTLY);
    if concurrently {
        client.batch_execute(step).await?;
    }
    let transaction = client.transaction().await?;
    if !concurrently {
        transaction.batch_execute(step).await?;
    }
    if last {
        transaction
            .execute(
                "insert into schema_migrations (version, name, checksum) values ($1, $2, $3)",
                &[&migration.version, &migration.name, &migration.checksum()],
            )
            .await?;
    }
    transaction.commit().await
}

/// Compares what was applied with what this program has and returns the version found.
async fn verify(client: &Client) -> Result<i32, Error> {
    let rows = client
        .query(
            "select version, name, checksum from schema_migrations order by version",
            &[],
        )
        .await
        .map_err(failed("read the table of migrations"))?;
    let mut found = 0;
    for row in rows {
        found = row.get("version");
        let known = MIGRATIONS.iter().find(|m| m.version == found);
        let Some(migration) = known else {
            return Err(Error::Ahead { found });
        };
        if migration.checksum() != row.get::<_, String>("checksum") {
            return Err(Error::Changed {
                version: found,
                applied: row.get("name"),
            });
        }
    }
    Ok(found)
}

/// Checks that the schema is exactly what this program needs.
pub async fn check(client: &Client) -> Result<(), Error> {
    let exists = client
        .query_one(
            "select to_regclass('schema_migrations') is not null as there",
            &[],
        )
        .await
        .map_err(failed("look for the table of migrations"))?;
    let found = if exists.get("there") {
        verify(client).await?
    } else {
        0
    };
    if found < CURRENT {
        return Err(Error::Behind { found });
    }
    Ok(())
}

impl super::Store {
    /// Checks that the schema is exactly what this program needs.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        let client = self.for_background().await?;
        Ok(check(&client).await?)
    }
}

/// Why the schema could not be found right.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There was no connection to look through.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// It is not right.
    #[error(transparent)]
    Schema(#[from] Error),
}

impl Migration {
    /// The parts that are applied one by one. A file that is not divided is one step.
    fn steps(&self) -> Vec<&'static str> {
        let at_line_start = |at: &usize| self.sql[..*at].ends_with('\n');
        let mut starts = vec![0];
        starts.extend(
            self.sql
                .match_indices(STEP)
                .map(|(at, _)| at)
                .filter(at_line_start),
        );
        starts.push(self.sql.len());
        starts.windows(2).map(|w| &self.sql[w[0]..w[1]]).collect()
    }

    /// SHA-256 of the file, in hexadecimal.
    fn checksum(&self) -> String {
        hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_divided_where_a_line_begins_with_the_mark() {
        let of = |sql| Migration {
            version: 1,
            name: "x",
            sql,
        };
        assert_eq!(of("select 1;\n").steps(), ["select 1;\n"]);
        assert_eq!(
            of("a;\n-- step: one\nb; -- step: not one\n-- step: two\nc;").steps(),
            [
                "a;\n",
                "-- step: one\nb; -- step: not one\n",
                "-- step: two\nc;"
            ]
        );
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected);
        }
    }
}
