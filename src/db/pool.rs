//! Connections: pools that do not starve each other, each session in the daemon's own role.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{Pool as ManagedPool, PoolError, QueueMode, TimeoutType};
use futures_util::future::join_all;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_postgres::Row;

use super::Error;
use super::connection::{Connection, Maker, Patience};
use super::error::Unavailable;
use super::server::{Cluster, ConnectError, Server};
use super::sql::Sql;
use super::transaction::Parameters;
use crate::runtime::metrics;

/// Longest wait for a connection that others have.
const CONNECTION_WAIT: Duration = Duration::from_secs(1);

/// Longest time to open a connection, its session and prepared statements included.
const CREATE_LIMIT: Duration = Duration::from_secs(2);

/// Longest time to open a connection for the command line.
const OWNER_LIMIT: Duration = Duration::from_secs(10);

/// What every session of the daemon sets first. A statement that could hold up a call gives up early: the
/// dialplan waits three seconds for us at most, and a lock is better reported than waited for.
///
/// Every statement finds its rows by index whatever its parameters, so one plan serves all; planning anew
/// would cost more than running. But a plan made while a table was empty (a quiet night, a new database)
/// would read the table through for ever: so sequential scans are out.
const SESSION: &str = "set role capconduit_app; set lock_timeout = '200ms'; \
    set statement_timeout = '1s'; set idle_in_transaction_session_timeout = '5s'; \
    set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; \
    set timezone = 'UTC'; set search_path = public";

/// What a session for the API sets first. It can do nothing but choose a role, which each request does.
/// Plans are made for the parameters at hand: a filter may find three rows or a million. None is carried out by several
/// processes: one request has one core at most, and the others are left to calls.
const API_SESSION: &str = "set role capconduit_api; set lock_timeout = '2s'; \
    set statement_timeout = '10s'; set idle_in_transaction_session_timeout = '10s'; \
    set plan_cache_mode = auto; set jit = off; set timezone = 'UTC'; set search_path = public; set client_connection_check_interval = '1s'; \
    set max_parallel_workers_per_gather = 0";

/// As for the API, for what may take long: searches, counts and statistics. Who asks for too much is told so rather
/// than kept waiting.
const HEAVY_SESSION: &str = "set role capconduit_api; set lock_timeout = '2s'; \
    set statement_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'; \
    set plan_cache_mode = auto; set jit = off; set timezone = 'UTC'; set search_path = public; set client_connection_check_interval = '1s'; \
    set max_parallel_workers_per_gather = 0";

/// As for the API, with the patience that large answers need.
const EXPORT_SESSION: &str = "set role capconduit_api; set lock_timeout = '2s'; \
    set statement_timeout = '60s'; set idle_in_transaction_session_timeout = '30s'; \
    set plan_cache_mode = auto; set jit = off; set timezone = 'UTC'; set search_path = public; set client_connection_check_interval = '1s'; \
    set max_parallel_workers_per_gather = 0";

/// As for calls, with the patience to store the transcript of a long call.
const JOBS_SESSION: &str = "set role capconduit_app; set lock_timeout = '2s'; \
    set statement_timeout = '30s'; set idle_in_transaction_session_timeout = '30s'; \
    set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; \
    set timezone = 'UTC'; set search_path = public";

/// Connections for jobs: each question is short, and whoever works on one can wait.
const JOBS_CONNECTIONS: usize = 2;

/// Connections to see who asks: each question is a moment's, and nothing else has them.
const AUTHENTICATION_CONNECTIONS: usize = 3;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `postgresql://…` or `key=value …`, as libpq reads it.
    pub url: SecretString,
    /// Root certificates (PEM) to verify the server's with.
    pub ca_file: Option<std::path::PathBuf>,
    /// Connections for calls.
    pub route_connections: usize,
    /// Connections for everything that can wait.
    pub background_connections: usize,
    /// Connections for requests to the HTTP API.
    pub api_connections: usize,
    /// Connections for searches, counts and statistics.
    pub heavy_connections: usize,
    /// Connections for exports, which take long.
    pub export_connections: usize,
    /// What is prepared when a connection for calls is made.
    pub prepared: &'static [Sql],
}

/// Connections of one purpose.
struct Pool {
    connections: ManagedPool<Maker>,
    server: Arc<Server>,
    patience: Patience,
    purpose: &'static str,
}

impl Pool {
    fn new(
        server: &Arc<Server>,
        size: usize,
        purpose: &'static str,
        session: &'static str,
        prepared: &'static [Sql],
        patience: Patience,
    ) -> Result<Self, ConnectError> {
        let maker = Maker {
            server: Arc::clone(server),
            application_name: format!("capconduit {purpose}"),
            session,
            prepared,
        };
        let pool = ManagedPool::builder(maker)
            .max_size(size)
            // The connection used last has its server process awake and its caches warm.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECTION_WAIT))
            .create_timeout(Some(CREATE_LIMIT))
            .recycle_timeout(Some(CONNECTION_WAIT))
            .build()?;
        Ok(Self {
            connections: pool,
            server: Arc::clone(server),
            patience,
            purpose,
        })
    }

    async fn get(&self) -> Result<Connection, Error> {
        self.get_with(None).await
    }

    async fn get_with(&self, turn: Option<OwnedSemaphorePermit>) -> Result<Connection, Error> {
        match self.connections.get().await {
            Ok(object) => Ok(Connection::new(
                object,
                Arc::clone(&self.server),
                self.patience,
                turn,
            )),
            Err(error) => Err(Error::Connection(match error {
                PoolError::Timeout(TimeoutType::Wait) => {
                    metrics::db_pool_exhausted(self.purpose);
                    Unavailable::AllInUse
                }
                PoolError::Timeout(_) => Unavailable::Connect(ConnectError::Silent {
                    servers: self.server.names(),
                    limit: CREATE_LIMIT,
                }),
                PoolError::Backend(error) => Unavailable::Connect(error),
                _ => Unavailable::Ending,
            })),
        }
    }
}

/// Handle to the database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pools: Arc<Pools>,
    pub(crate) totals: super::totals::Totals,
}

struct Pools {
    server: Arc<Server>,
    route: Pool,
    /// Decisions leave some connections of the routing pool to the reports of ended calls.
    decisions: Arc<Semaphore>,
    background: Pool,
    questions: Pool,
    authentication: Pool,
    api: Pool,
    heavy: Pool,
    export: Pool,
    jobs: Pool,
}

impl Pools {
    fn all(&self) -> [&Pool; 8] {
        [
            &self.route,
            &self.background,
            &self.questions,
            &self.authentication,
            &self.api,
            &self.heavy,
            &self.export,
            &self.jobs,
        ]
    }
}

impl Store {
    /// Prepares the pools; connects when first needed.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let server = Arc::new(Server::new(settings)?);
        let each = |seconds| Patience::EachAnswer(Duration::from_secs(seconds));
        let whole = Patience::Whole(Duration::from_millis(1_500));
        let pool = |size, purpose, session, prepared, patience| {
            Pool::new(&server, size, purpose, session, prepared, patience)
        };
        let routes = settings.route_connections;
        // The server gives a statement up by itself, a second before we do.
        let pools = Pools {
            route: pool(routes, "route", SESSION, settings.prepared, whole)?,
            decisions: Arc::new(Semaphore::new(for_decisions(routes))),
            background: pool(
                settings.background_connections,
                "background",
                SESSION,
                &[],
                each(3),
            )?,
            questions: pool(settings.api_connections, "questions", SESSION, &[], each(2))?,
            authentication: pool(
                AUTHENTICATION_CONNECTIONS,
                "authentication",
                API_SESSION,
                &[],
                each(3),
            )?,
            api: pool(settings.api_connections, "api", API_SESSION, &[], each(11))?,
            heavy: pool(
                settings.heavy_connections,
                "heavy",
                HEAVY_SESSION,
                &[],
                each(6),
            )?,
            export: pool(
                settings.export_connections,
                "export",
                EXPORT_SESSION,
                &[],
                each(61),
            )?,
            jobs: pool(JOBS_CONNECTIONS, "jobs", JOBS_SESSION, &[], each(31))?,
            server,
        };
        Ok(Self {
            pools: Arc::new(pools),
            totals: super::totals::Totals::default(),
        })
    }

    /// The PostgreSQL cluster and the timeline it is on, and each change of them: after a promotion the new primary
    /// may lack what the old one had committed last. `None` until the first connection. A connection is lent only
    /// after its timeline stands here.
    pub fn cluster(&self) -> watch::Receiver<Option<Cluster>> {
        self.pools.server.cluster()
    }

    /// How many connections there are for calls.
    pub fn route_connections(&self) -> usize {
        self.pools.route.connections.status().max_size
    }

    /// How many connections there are for requests.
    pub fn api_connections(&self) -> usize {
        self.pools.api.connections.status().max_size
    }

    /// How many connections there are for what may take long.
    pub fn heavy_connections(&self) -> usize {
        self.pools.heavy.connections.status().max_size
    }

    /// A connection for a decision.
    pub(crate) async fn for_call(&self) -> Result<Connection, Error> {
        let asked = Instant::now();
        let turn = Arc::clone(&self.pools.decisions).acquire_owned();
        let connection = if let Ok(turn) = tokio::time::timeout(CONNECTION_WAIT, turn).await {
            self.pools.route.get_with(turn.ok()).await
        } else {
            metrics::db_pool_exhausted(self.pools.route.purpose);
            Err(Error::Connection(Unavailable::AllInUse))
        };
        metrics::db_pool_wait(asked.elapsed());
        connection
    }

    /// A connection for the end of a call or an attempt. Decisions that wait do not take them all.
    pub(crate) async fn for_settling(&self) -> Result<Connection, Error> {
        let asked = Instant::now();
        let connection = self.pools.route.get().await;
        metrics::db_pool_wait(asked.elapsed());
        connection
    }

    /// A connection for what can wait.
    pub(crate) async fn for_background(&self) -> Result<Connection, Error> {
        self.pools.background.get().await
    }

    /// A connection to look with as calls do, for those who only ask: neither calls nor their repair wait
    /// for them.
    pub(crate) async fn for_question(&self) -> Result<Connection, Error> {
        self.pools.questions.get().await
    }

    /// A connection for a request to the API.
    pub(crate) async fn for_request(&self) -> Result<Connection, Error> {
        self.pools.api.get().await
    }

    /// A connection to see who asks. What requests do then does not keep it.
    pub(crate) async fn for_authentication(&self) -> Result<Connection, Error> {
        self.pools.authentication.get().await
    }

    /// A connection for what may take long.
    pub(crate) async fn for_heavy(&self) -> Result<Connection, Error> {
        self.pools.heavy.get().await
    }

    /// A connection for an export.
    pub(crate) async fn for_export(&self) -> Result<Connection, Error> {
        self.pools.export.get().await
    }

    /// A connection for jobs, which must never make a call or its settling wait.
    pub(crate) async fn for_jobs(&self) -> Result<Connection, Error> {
        self.pools.jobs.get().await
    }

    /// Opens the connections for calls, so that the first calls need not. What fails is tried again when
    /// it is needed.
    pub async fn warm_up(&self) {
        let route = &self.pools.route;
        let all = (0..route.connections.status().max_size).map(|_| route.get());
        drop(join_all(all).await);
    }

    /// Connections in use, all pools together.
    pub fn connections_in_use(&self) -> usize {
        let in_use = self.pools.all().map(|pool| {
            let status = pool.connections.status();
            status.size.saturating_sub(status.available)
        });
        in_use.iter().sum()
    }

    /// One round trip, to see whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.for_background()
            .await?
            .execute("ping", "select 1")
            .await
    }

    /// Closes all connections once they are given back.
    pub fn close(&self) {
        for pool in self.pools.all() {
            pool.connections.close();
        }
    }
}

/// How many of the connections of the routing pool decisions may have at once.
fn for_decisions(all: usize) -> usize {
    all - (all / 4).max(1).min(all - 1)
}

/// One connection in the role of the URL itself, which may own the schema: for migrations and for the
/// command line, never for calls.
pub async fn connect_as_owner(settings: &Settings) -> Result<tokio_postgres::Client, ConnectError> {
    let server = Server::new(settings)?;
    // Its task ends when the client is dropped; its errors reach the client's own calls.
    let opened = server.open_within(OWNER_LIMIT, "capconduit admin").await?;
    let set = opened.client.batch_execute("set search_path = public");
    match tokio::time::timeout(OWNER_LIMIT, set).await {
        Ok(Ok(())) => Ok(opened.client),
        Ok(Err(source)) => Err(ConnectError::Connect {
            server: server.names(),
            source,
        }),
        Err(_) => Err(ConnectError::Silent {
            servers: server.names(),
            limit: OWNER_LIMIT,
        }),
    }
}

/// Runs a statement that was prepared once per connection.
pub(crate) async fn rows(
    client: &Connection,
    sql: Sql,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, Error> {
    client.rows(sql, parameters).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_leave_a_quarter_of_the_connections_and_at_least_one() {
        let left = [1, 2, 3, 4, 8, 100].map(|all| all - for_decisions(all));
        assert_eq!(left, [0, 1, 1, 1, 2, 25]);
    }
}
