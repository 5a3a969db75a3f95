//! Connections: pools that do not starve each other, each session in the daemon's own role.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, QueueMode,
    RecyclingMethod,
};
use futures_util::future::{join_all, try_join_all};
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::SslMode;
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Error;
use super::sql::{self, Sql};
use crate::metrics;

/// Longest wait for a connection of the routing pool, free or new.
const CONNECTION_WAIT: Duration = Duration::from_secs(1);

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
/// Plans are made for the parameters at hand: a filter may find three rows or a million.
const API_SESSION: &str = "set role capconduit_api; set lock_timeout = '2s'; \
    set statement_timeout = '10s'; set idle_in_transaction_session_timeout = '10s'; \
    set plan_cache_mode = auto; set jit = off; set timezone = 'UTC'; set search_path = public";

/// As for the API, with the patience that large answers need.
const EXPORT_SESSION: &str = "set role capconduit_api; set lock_timeout = '2s'; \
    set statement_timeout = '60s'; set idle_in_transaction_session_timeout = '30s'; \
    set plan_cache_mode = auto; set jit = off; set timezone = 'UTC'; set search_path = public";

/// As for calls, with the patience to store the transcript of a long call.
const JOBS_SESSION: &str = "set role capconduit_app; set lock_timeout = '2s'; \
    set statement_timeout = '30s'; set idle_in_transaction_session_timeout = '30s'; \
    set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; \
    set timezone = 'UTC'; set search_path = public";

/// Connections for jobs: each question is short, and whoever works on one can wait.
const JOBS_CONNECTIONS: usize = 2;

/// What a call needs. Prepared when a connection is made, so that no call pays for it under a lock.
const HOT: [Sql; 11] = [
    sql::CALL_UNDER_WAY,
    sql::ROUTING_VIEW,
    sql::LOCK_CAMPAIGN,
    sql::CLAIM,
    sql::REFUSE,
    sql::LOCK_CALL,
    sql::LOCK_SEEN_CALL,
    sql::ATTEMPTS_OF_CALL,
    sql::SETTLE_ATTEMPT,
    sql::EXPECT_RECORDINGS,
    sql::CLOSE_CALL,
];

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
    /// Connections for exports, which take long.
    pub export_connections: usize,
}

/// Why there can be no pool at all. A database that is merely away is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one.
    #[error("database.url is not a PostgreSQL URL or key=value list")]
    Url(#[source] tokio_postgres::Error),
    /// TLS was asked for and cannot be set up.
    #[error("cannot set up TLS to the database: {0}")]
    Tls(String),
    /// The pool was refused its settings.
    #[error("cannot build the connection pool")]
    Pool(#[from] deadpool_postgres::BuildError),
    /// The database did not answer or refused us.
    #[error("cannot connect to the database")]
    Connect(#[source] tokio_postgres::Error),
}

/// Handle to the database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    route: Pool,
    background: Pool,
    questions: Pool,
    api: Pool,
    export: Pool,
    jobs: Pool,
    pub(super) totals: super::totals::Totals,
}

impl Store {
    /// Prepares the pools; connects when first needed.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let (config, tls) = client_config(settings)?;
        let pool = |size: usize, purpose: &str, session: &'static str, prepared: &'static [Sql]| {
            let mut config = config.clone();
            config.application_name(format!("capconduit {purpose}"));
            let manager_config = ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            };
            let manager = match &tls {
                Some(tls) => Manager::from_config(config, tls.clone(), manager_config),
                None => Manager::from_config(config, NoTls, manager_config),
            };
            Pool::builder(manager)
                .max_size(size)
                // The connection used last has its server process awake and its caches warm.
                .queue_mode(QueueMode::Lifo)
                .runtime(deadpool_postgres::Runtime::Tokio1)
                .wait_timeout(Some(CONNECTION_WAIT))
                .create_timeout(Some(CONNECTION_WAIT))
                .recycle_timeout(Some(CONNECTION_WAIT))
                .post_create(Hook::async_fn(move |client, _| {
                    Box::pin(async move {
                        let begun = client.batch_execute(session).await;
                        begun.map_err(HookError::Backend)?;
                        let ready = make_ready(client, prepared).await;
                        ready.map_err(HookError::Backend)
                    })
                }))
                .build()
        };
        Ok(Self {
            route: pool(settings.route_connections, "route", SESSION, &HOT)?,
            background: pool(settings.background_connections, "background", SESSION, &[])?,
            questions: pool(settings.api_connections, "questions", SESSION, &[])?,
            api: pool(settings.api_connections, "api", API_SESSION, &[])?,
            export: pool(settings.export_connections, "export", EXPORT_SESSION, &[])?,
            jobs: pool(JOBS_CONNECTIONS, "jobs", JOBS_SESSION, &[])?,
            totals: super::totals::Totals::default(),
        })
    }

    /// A connection for a call.
    pub(super) async fn for_call(&self) -> Result<Object, Error> {
        let asked = Instant::now();
        let connection = self.route.get().await.map_err(Error::Connection);
        metrics::db_pool_wait(asked.elapsed());
        connection
    }

    /// A connection for what can wait.
    pub(super) async fn for_background(&self) -> Result<Object, Error> {
        self.background.get().await.map_err(Error::Connection)
    }

    /// A connection to look with as calls do, for those who only ask: neither calls nor their repair wait
    /// for them.
    pub(super) async fn for_question(&self) -> Result<Object, Error> {
        self.questions.get().await.map_err(Error::Connection)
    }

    /// A connection for a request to the API.
    pub(super) async fn for_request(&self) -> Result<Object, Error> {
        self.api.get().await.map_err(Error::Connection)
    }

    /// A connection for an export.
    pub(super) async fn for_export(&self) -> Result<Object, Error> {
        self.export.get().await.map_err(Error::Connection)
    }

    /// A connection for jobs, which must never make a call or its settling wait.
    pub(super) async fn for_jobs(&self) -> Result<Object, Error> {
        self.jobs.get().await.map_err(Error::Connection)
    }

    /// Opens the connections for calls, so that the first calls need not. What fails is tried again when
    /// it is needed.
    pub async fn warm_up(&self) {
        let all = (0..self.route.status().max_size).map(|_| self.route.get());
        drop(join_all(all).await);
    }

    /// Connections in use, all pools together.
    pub fn connections_in_use(&self) -> usize {
        [
            &self.route,
            &self.background,
            &self.questions,
            &self.api,
            &self.export,
            &self.jobs,
        ]
        .map(Pool::status)
        .iter()
        .map(|status| status.size.saturating_sub(status.available))
        .sum()
    }

    /// One round trip, to see whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let client = self.for_background().await?;
        let answered = client.simple_query("select 1").await;
        answered.map(|_| ()).map_err(Error::statement("ping"))
    }

    /// Closes all connections once they are given back.
    pub fn close(&self) {
        self.route.close();
        self.background.close();
        self.questions.close();
        self.api.close();
        self.export.close();
        self.jobs.close();
    }
}

/// Prepares statements and has the server plan them now: a plan is otherwise made at the first use, by a
/// call that waits.
async fn make_ready(client: &ClientWrapper, sql: &[Sql]) -> Result<(), tokio_postgres::Error> {
    try_join_all(sql.iter().map(|sql| client.prepare_cached(sql.text))).await?;
    let prepared = "select format('explain execute %I%s', name, case cardinality(parameter_types)
            when 0 then '' else '(' || repeat('null, ', cardinality(parameter_types) - 1) || 'null)' end)
        from pg_prepared_statements where not from_sql";
    for row in client.query(prepared, &[]).await? {
        client.batch_execute(row.get(0)).await?;
    }
    Ok(())
}

/// One connection in the role of the URL itself, which may own the schema: for migrations and for the
/// command line, never for calls.
pub async fn connect_as_owner(settings: &Settings) -> Result<tokio_postgres::Client, ConnectError> {
    let (mut config, tls) = client_config(settings)?;
    config.application_name("capconduit admin");
    macro_rules! connect {
        ($tls:expr) => {{
            let (client, connection) = config.connect($tls).await.map_err(ConnectError::Connect)?;
            // Ends when the client is dropped; its errors reach the client's own calls.
            tokio::spawn(connection);
            client
        }};
    }
    let client = if let Some(tls) = tls {
        connect!(tls)
    } else {
        connect!(NoTls)
    };
    client
        .batch_execute("set search_path = public")
        .await
        .map_err(ConnectError::Connect)?;
    Ok(client)
}

/// Runs a statement that was prepared once per connection.
pub(super) async fn rows(
    client: &Object,
    sql: Sql,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let statement = client
        .prepare_cached(sql.text)
        .await
        .map_err(Error::statement(sql.name))?;
    client
        .query(&statement, parameters)
        .await
        .map_err(Error::statement(sql.name))
}

fn client_config(
    settings: &Settings,
) -> Result<(tokio_postgres::Config, Option<MakeRustlsConnect>), ConnectError> {
    let mut config = tokio_postgres::Config::from_str(settings.url.expose_secret())
        .map_err(ConnectError::Url)?;
    config
        .connect_timeout(Duration::from_secs(1))
        .tcp_user_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(30));
    // Without a root certificate to check against, "prefer" gives no security and fails on the
    // self-signed certificate many servers come with. So TLS is either asked for, and checked, or off.
    let wanted = settings.ca_file.is_some() || config.get_ssl_mode() == SslMode::Require;
    if !wanted {
        config.ssl_mode(SslMode::Disable);
        return Ok((config, None));
    }
    config.ssl_mode(SslMode::Require);
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        let certificates = rustls::pki_types::CertificateDer::pem_file_iter(file)
            .map_err(|e| ConnectError::Tls(format!("database.ca_file {}: {e}", file.display())))?;
        for certificate in certificates {
            let added = certificate.map_err(|e| e.to_string());
            added
                .and_then(|c| roots.add(c).map_err(|e| e.to_string()))
                .map_err(|e| {
                    ConnectError::Tls(format!("database.ca_file {}: {e}", file.display()))
                })?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectError::Tls(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((config, Some(MakeRustlsConnect::new(tls))))
}
