//! Schema migrations: forward only, embedded, each in a transaction of its own, one daemon at a time.
//!
//! A file may be divided into steps by lines that begin with `-- step:`. Each step is then a transaction of its own, so
//! that a lock is held on one table and for a moment; a step that builds an index `concurrently` has none. A file that
//! was broken off is run again from its first step, so steps may find their work done.
//!
//! A table of what was applied holds each file's checksum, so that an edited migration is found out. The
//! session lock is taken on the migrating connection itself and goes with it. Every wait ends: for a connection, for a
//! lock, for a server that is silent. Only a migration that the server works on may take its time.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::pool::connect_as_owner;
use super::{ConnectError, Settings};
use crate::runtime::digest::hex;

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
    ($version:literal, $file:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../sql/migrations/", $file, "_", $name, ".sql")),
        }
    };
}

/// All of them, in order.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001", "catalogue"),
    migration!(2, "0002", "calls"),
    migration!(3, "0003", "access"),
    migration!(4, "0004", "api"),
    migration!(5, "0005", "recordings"),
    migration!(6, "0006", "ownership"),
    migration!(7, "0007", "realtime"),
    migration!(8, "0008", "growth"),
    migration!(9, "0009", "numbers"),
    migration!(10, "0010", "observability"),
    migration!(11, "0011", "identity"),
    migration!(12, "0012", "fair_shares"),
    migration!(13, "0013", "recovery"),
    migration!(14, "0014", "privacy"),
    migration!(15, "0015", "operators"),
    migration!(16, "0016", "contract"),
    migration!(17, "0017", "registration"),
    migration!(18, "0018", "reports"),
    migration!(19, "0019", "access"),
    migration!(20, "0020", "erasure"),
    migration!(21, "0021", "lists"),
];

/// The version this program works with.
pub const CURRENT: i32 = MIGRATIONS.len() as i32;

/// How long to wait for another process that is migrating, and for a server that is silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a look at the server may take.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Between two statements of a migration the server does nothing for a moment: it is looked at twice, this far apart.
const SECOND_LOOK: Duration = Duration::from_millis(500);

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
    #[error(
        "another process has been migrating this database for {} s or longer: run `capconduit migrate` again when \
         it is done (`select pid, application_name from pg_stat_activity join pg_locks using (pid) where locktype = \
         'advisory'` shows it)", PATIENCE.as_secs()
    )]
    Locked,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server stopped answering.
    #[error(
        "the database has been silent for {} s and does not work on what it was asked: it, or something between it \
         and us, hangs. A migration that was begun is rolled back when the connection ends",
        PATIENCE.as_secs()
    )]
    Silent,
    /// Texts of other alphabets cannot be kept in it.
    #[error(
        "the database's encoding is {found}, and names, transcripts and messages need UTF8: make another with \
         `create database … encoding 'UTF8' template template0`"
    )]
    Encoding {
        /// Its encoding.
        found: String,
    },
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

/// Connects and migrates, as [`migrate`] does; a server that is silent ends it. Also returns the connection.
pub async fn run(settings: &Settings) -> Result<(Client, Vec<Migration>), Error> {
    let mut client = connect_as_owner(settings).await?;
    let asked = tokio::time::timeout(PATIENCE, client.query_one("select pg_backend_pid()", &[]));
    let pid: i32 = match asked.await {
        Ok(row) => row.map_err(failed("ask for the session's process"))?.get(0),
        Err(_) => return Err(Error::Silent),
    };
    let tries = AtomicU32::new(0);
    let applied = {
        let mut work = pin!(migrate_noting(&mut client, &tries));
        let mut known = 0;
        loop {
            if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
                break done?;
            }
            // Who waits for a lock asks again and again, and is answered.
            let now = tries.load(Ordering::Relaxed);
            if std::mem::replace(&mut known, now) != now {
                continue;
            }
            if !works(settings, pid).await {
                if let Ok(done) = tokio::time::timeout(SECOND_LOOK, &mut work).await {
                    break done?;
                }
                if !works(settings, pid).await {
                    return Err(Error::Silent);
                }
            }
        }
    };
    Ok((client, applied))
}

/// Whether a server process is at work, as another one sees it.
async fn works(settings: &Settings, pid: i32) -> bool {
    let looked = async {
        let client = connect_as_owner(settings).await.ok()?;
        let sql = "select state = 'active' and wait_event_type is distinct from 'Client'
            from pg_stat_activity where pid = $1";
        client.query_opt(sql, &[&pid]).await.ok()??.get(0)
    };
    let works = tokio::time::timeout(LOOK_LIMIT, looked).await;
    matches!(works, Ok(Some(true)))
}

/// Brings the schema up to date and returns what was applied now. Any number of processes may do so at
/// once: one works, the others wait and find it done.
pub async fn migrate(client: &mut Client) -> Result<Vec<Migration>, Error> {
    migrate_noting(client, &AtomicU32::new(0)).await
}

/// Counts the tries that were answered.
async fn migrate_noting(client: &mut Client, tries: &AtomicU32) -> Result<Vec<Migration>, Error> {
    let encoding = client.query_one("show server_encoding", &[]).await;
    let encoding: String = encoding.map_err(failed("ask for the encoding"))?.get(0);
    if encoding != "UTF8" {
        return Err(Error::Encoding { found: encoding });
    }
    take_lock(client).await?;
    let outcome = apply_missing(client, tries).await;
    let unlocked = client
        .batch_execute(&format!("select pg_advisory_unlock({LOCK})"))
        .await;
    let applied = outcome?;
    unlocked.map_err(failed("give the migration lock back"))?;
    Ok(applied)
}

/// Asks again and again rather than wait in the server: whoever waits there has a snapshot, for whose end the other
/// process waits with each index that it builds concurrently.
async fn take_lock(client: &Client) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let taken = client
            .query_one("select pg_try_advisory_lock($1)", &[&LOCK])
            .await
            .map_err(failed("take the migration lock"))?;
        if taken.get(0) {
            return Ok(());
        }
        if began.elapsed() >= PATIENCE {
            return Err(Error::Locked);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..150))).await;
    }
}

async fn apply_missing(client: &mut Client, tries: &AtomicU32) -> Result<Vec<Migration>, Error> {
    client
        .batch_execute(TABLE_LOCK_WAIT)
        .await
        .map_err(failed("set the lock timeout"))?;
    // Then nothing is to be owned: the daemon's own login may look too.
    if check(client).await.is_ok() {
        return Ok(Vec::new());
    }
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
            apply_patiently(client, migration, step, last, tries).await?;
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
    tries: &AtomicU32,
) -> Result<(), Error> {
    let deadline = Instant::now() + TRIED_AGAIN;
    loop {
        let Err(error) = apply(client, migration, step, last).await else {
            return Ok(());
        };
        tries.fetch_add(1, Ordering::Relaxed);
        // Roles are the cluster's: another database's migration may change them this moment, which PostgreSQL does not
        // queue but refuse.
        let refused = error
            .as_db_error()
            .is_some_and(|error| error.message() == "tuple concurrently updated");
        let locked = refused || error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
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
        let connection = self.for_background().await?;
        let checked = connection.wait_for("check_schema", check(connection.client()));
        Ok(checked.await??)
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
