//! Which PostgreSQL server to talk to, and opening connections to it.
//!
//! Several hosts may be named. Each is tried, and one that does not answer delays the next by [`HEAD_START`] only. A
//! server that takes no writes (a standby) is passed over, and so is one on an older timeline than was seen: after
//! a failover, the old primary may still run. Invariant: whoever gets a connection finds [`Cluster`] as new as the
//! server behind it.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::Settings;
use crate::runtime::telemetry::Chain;

/// How long a host may take before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long lost connections are counted before one line of the log tells of them all.
const COUNT_LOSSES: Duration = Duration::from_millis(500);

/// Whether the server takes writes, the cluster it belongs to and the timeline it is on. A standby's timeline cannot
/// be asked for in this way, and a server that is not quite PostgreSQL may not know the functions.
const WHO_ARE_YOU: &str = "select current_setting('transaction_read_only'), \
    (select system_identifier from pg_control_system()), \
    case when not pg_is_in_recovery() then substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end";

/// As [`WHO_ARE_YOU`], where only the first question is understood.
const READ_ONLY: &str = "show transaction_read_only";

/// Which history of the database is being written. It changes when a standby is promoted: what the old primary had
/// committed and the standby had not received is not part of the new history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Identifies the cluster and all its copies.
    pub system: u64,
    /// Counts its promotions and recoveries to a point in time.
    pub timeline: u32,
}

/// Why there can be no pool, or no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one.
    #[error("database.url is not a PostgreSQL URL or key=value list")]
    Url(#[source] tokio_postgres::Error),
    /// The URL asks for a server that calls cannot be routed with.
    #[error("database.url asks for a server that takes no writes (target_session_attrs=read-only)")]
    ReadOnlyWanted,
    /// TLS was asked for and cannot be set up.
    #[error("cannot set up TLS to the database: {0}")]
    Tls(String),
    /// The pool was refused its settings.
    #[error("cannot build the connection pool")]
    Pool(#[from] deadpool::managed::BuildError),
    /// The server did not answer or refused us.
    #[error("cannot connect to {server}")]
    Connect {
        /// Which, with the database and the user that were tried.
        server: String,
        /// Why.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server takes no writes.
    #[error("{server} takes no writes: it is a standby, or default_transaction_read_only is on")]
    Standby {
        /// Which.
        server: String,
    },
    /// The server writes a history that a promotion has ended.
    #[error(
        "{server} is on timeline {timeline}, and timeline {newest} was seen: it is an old primary. If the \
         cluster was set back on purpose, restart this daemon"
    )]
    OldPrimary {
        /// Which.
        server: String,
        /// What it writes.
        timeline: u32,
        /// What was seen.
        newest: u32,
    },
    /// None of several servers can be used.
    #[error("none of the servers in database.url can be used: {0}")]
    NoneOf(String),
    /// Nobody answered.
    #[error("{servers}: no answer within {limit:?}")]
    Silent {
        /// Which.
        servers: String,
        /// How long was waited.
        limit: Duration,
    },
}

/// A connection as the server gave it, with the task that carries it.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) carrier: JoinHandle<()>,
}

/// When connections fell silent last. Connections freeze together: found out one by one, each would cost somebody the
/// whole of a deadline.
#[derive(Default)]
struct Silence {
    noticed: Option<Instant>,
    confirmed: Option<Instant>,
}

/// What to think of a connection that lies in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It can be lent.
    Good,
    /// It is tried first.
    Doubtful,
    /// It is thrown away.
    None,
}

/// The servers named in `database.url`.
pub(crate) struct Server {
    hosts: Vec<tokio_postgres::Config>,
    tls: Option<MakeRustlsConnect>,
    /// The host that was good last.
    preferred: AtomicUsize,
    cluster: watch::Sender<Option<Cluster>>,
    silence: Mutex<Silence>,
    losses: Arc<Losses>,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let (config, tls) = client_config(settings)?;
        if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return Err(ConnectError::ReadOnlyWanted);
        }
        Ok(Self {
            hosts: one_by_one(&config),
            tls,
            preferred: AtomicUsize::new(0),
            cluster: watch::Sender::new(None),
            silence: Mutex::default(),
            losses: Arc::default(),
        })
    }

    /// What is known of the cluster; changes are told.
    pub(crate) fn cluster(&self) -> watch::Receiver<Option<Cluster>> {
        self.cluster.subscribe()
    }

    /// Whether a connection that was opened in this cluster still leads to the newest.
    pub(crate) fn is_current(&self, cluster: Option<Cluster>) -> bool {
        cluster.is_none() || *self.cluster.borrow() == cluster
    }

    /// A connection did not answer in time: those that were lent before now are tried before they are lent again.
    pub(crate) fn note_silence(&self, operation: &'static str) {
        self.silence().noticed = Some(Instant::now());
        self.losses
            .note(format!("no answer to {operation} in time"));
    }

    /// Those that were lent before now are not lent any more: one that was tried did not answer either, or the server
    /// takes no writes any more.
    pub(crate) fn trust_none(&self) {
        self.silence().confirmed = Some(Instant::now());
    }

    /// Whether a connection that was last lent at this time may have fallen silent with another.
    pub(crate) fn trust(&self, lent: Instant) -> Trust {
        let silence = self.silence();
        if silence.confirmed.is_some_and(|at| lent <= at) {
            Trust::None
        } else if silence.noticed.is_some_and(|at| lent <= at) {
            Trust::Doubtful
        } else {
            Trust::Good
        }
    }

    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection to the first host that can be used, the one that was good last before all others.
    pub(crate) async fn open(&self, application_name: &str) -> Result<Opened, ConnectError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut next = (0..self.hosts.len()).map(|i| (first + i) % self.hosts.len());
        let mut attempts = FuturesUnordered::new();
        let mut errors = Vec::new();
        let mut left = self.hosts.len();
        loop {
            if let Some(host) = next.next() {
                left -= 1;
                attempts.push(async move { (host, self.open_on(host, application_name).await) });
            }
            let ended = if left == 0 {
                attempts.next().await
            } else {
                // One that does not answer is left to go on beside the next.
                match tokio::time::timeout(HEAD_START, attempts.next()).await {
                    Ok(ended) => ended,
                    Err(_) => continue,
                }
            };
            match ended {
                Some((host, Ok(opened))) => {
                    self.preferred.store(host, Ordering::Relaxed);
                    return Ok(opened);
                }
                Some((_, Err(error))) => errors.push(error),
                None if left == 0 => {}
                None => continue,
            }
            if left == 0 && attempts.is_empty() {
                return Err(match errors.len() {
                    0 => ConnectError::NoneOf("no host is named".to_owned()),
                    1 => errors.remove(0),
                    _ => ConnectError::NoneOf(
                        errors
                            .iter()
                            .map(|error| Chain(error).to_string())
                            .collect::<Vec<_>>()
                            .join("; "),
                    ),
                });
            }
        }
    }

    /// As [`Self::open`], within a time.
    pub(crate) async fn open_within(
        &self,
        limit: Duration,
        application_name: &str,
    ) -> Result<Opened, ConnectError> {
        let opened = tokio::time::timeout(limit, self.open(application_name)).await;
        opened.unwrap_or_else(|_| {
            Err(ConnectError::Silent {
                servers: self.names(),
                limit,
            })
        })
    }

    /// The hosts, for a message.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.hosts.iter().map(name_of).collect();
        names.join(", ")
    }

    async fn open_on(&self, host: usize, application_name: &str) -> Result<Opened, ConnectError> {
        let mut config = self.hosts[host].clone();
        config.application_name(application_name);
        let server = name_of(&config);
        let tried = tried_of(&config);
        let failed = |source| ConnectError::Connect {
            server: tried.clone(),
            source,
        };
        let losses = Arc::clone(&self.losses);
        macro_rules! connect {
            ($tls:expr) => {{
                let (client, connection) = config.connect($tls).await.map_err(failed)?;
                let carried = async move {
                    if let Err(error) = connection.await {
                        losses.note(Chain(&error).to_string());
                    }
                };
                (client, AbortOnDrop(Some(tokio::spawn(carried))))
            }};
        }
        let (client, carrier) = if let Some(tls) = &self.tls {
            connect!(tls.clone())
        } else {
            connect!(NoTls)
        };
        let cluster = match client.simple_query(WHO_ARE_YOU).await {
            Ok(answer) => cluster_of(&answer),
            Err(error) if error.as_db_error().is_some() => {
                let answer = client.simple_query(READ_ONLY).await.map_err(failed)?;
                cluster_of(&answer)
            }
            Err(error) => return Err(failed(error)),
        };
        let Ok(cluster) = cluster else {
            return Err(ConnectError::Standby { server });
        };
        if let Some(cluster) = cluster {
            self.note_cluster(&server, cluster)?;
        }
        Ok(Opened {
            client,
            cluster,
            carrier: carrier.keep(),
        })
    }

    fn note_cluster(&self, server: &str, found: Cluster) -> Result<(), ConnectError> {
        let mut before = None;
        self.cluster.send_if_modified(|known| {
            before = *known;
            let newer = known.is_none_or(|known| {
                known.system != found.system || known.timeline < found.timeline
            });
            if newer {
                *known = Some(found);
            }
            newer
        });
        let Some(before) = before else {
            return Ok(());
        };
        if before.system != found.system {
            tracing::warn!(
                server,
                "the database is now in another PostgreSQL cluster than before"
            );
        } else if found.timeline < before.timeline {
            return Err(ConnectError::OldPrimary {
                server: server.to_owned(),
                timeline: found.timeline,
                newest: before.timeline,
            });
        } else if found.timeline > before.timeline {
            tracing::warn!(
                server,
                before = before.timeline,
                now = found.timeline,
                "PostgreSQL has a new primary (its timeline changed): what the old one had not handed on is lost"
            );
        }
        Ok(())
    }
}

/// `Err`: it takes no writes.
fn cluster_of(answer: &[SimpleQueryMessage]) -> Result<Option<Cluster>, ()> {
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else {
        return Ok(None);
    };
    if row.get(0) == Some("on") {
        return Err(());
    }
    if row.len() < 3 {
        return Ok(None);
    }
    // The identifier is an unsigned number in a signed type.
    let system = row.get(1).and_then(|text| text.parse::<i64>().ok());
    let timeline = row
        .get(2)
        .and_then(|text| u32::from_str_radix(text, 16).ok());
    Ok(system.zip(timeline).map(|(system, timeline)| Cluster {
        system: system as u64,
        timeline,
    }))
}

/// Ends the task of a connection that nobody got.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().unwrap_or_else(|| tokio::spawn(async {}))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Tells of lost connections in one line, however many there are: a restart of the server ends all at once.
#[derive(Default)]
struct Losses {
    counted: Mutex<Option<(u32, String)>>,
}

impl Losses {
    fn note(self: &Arc<Self>, reason: String) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = counted.as_mut() {
            *count += 1;
            return;
        }
        *counted = Some((1, reason));
        drop(counted);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let losses = Arc::clone(self);
        runtime.spawn(async move {
            tokio::time::sleep(COUNT_LOSSES).await;
            let mut counted = losses
                .counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some((connections, reason)) = counted.take() {
                drop(counted);
                tracing::warn!(
                    connections,
                    reason,
                    "connections to PostgreSQL were lost; new ones are opened as they are needed"
                );
            }
        });
    }
}

/// A configuration for each host that is named.
fn one_by_one(config: &tokio_postgres::Config) -> Vec<tokio_postgres::Config> {
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    let mut all = Vec::with_capacity(hosts);
    for i in 0..hosts {
        let mut one = tokio_postgres::Config::new();
        match config.get_hosts().get(i) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = config.get_hostaddrs().get(i) {
            one.hostaddr(*address);
        }
        let ports = config.get_ports();
        if let Some(port) = ports.get(i).or_else(|| ports.first()) {
            one.port(*port);
        }
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(password) = config.get_password() {
            one.password(password);
        }
        if let Some(database) = config.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        one.ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .keepalives(config.get_keepalives())
            .keepalives_idle(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            one.keepalives_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            one.keepalives_retries(retries);
        }
        if let Some(limit) = config.get_connect_timeout() {
            one.connect_timeout(*limit);
        }
        if let Some(limit) = config.get_tcp_user_timeout() {
            one.tcp_user_timeout(*limit);
        }
        all.push(one);
    }
    all
}

/// Host and port, for people.
fn name_of(config: &tokio_postgres::Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        // What stands before an @ is the end of a password.
        (Some(Host::Tcp(host)), _) => {
            format!("{}:{port}", host.rsplit('@').next().unwrap_or(host))
        }
        (Some(Host::Unix(path)), _) => format!("{}:{port}", path.display()),
        (None, Some(address)) => format!("{address}:{port}"),
        (None, None) => "no host".to_owned(),
    }
}

/// What was tried, to be compared with what was meant: a password with an unescaped `@` makes a host of its end.
fn tried_of(config: &tokio_postgres::Config) -> String {
    let user = config.get_user().unwrap_or("(nobody named)");
    let database = config.get_dbname().unwrap_or(user);
    let server = name_of(config);
    let mark = if config.get_hosts().iter().any(is_odd) {
        ": an @, : or / in user or password is written %40, %3A, %2F"
    } else {
        ""
    };
    format!("{server} (database {database}, user {user}{mark})")
}

/// Neither a name nor an address.
fn is_odd(host: &Host) -> bool {
    matches!(host, Host::Tcp(name) if name.contains(['@', '%', '/']))
}

fn client_config(
    settings: &Settings,
) -> Result<(tokio_postgres::Config, Option<MakeRustlsConnect>), ConnectError> {
    let mut config = tokio_postgres::Config::from_str(settings.url.expose_secret())
        .map_err(ConnectError::Url)?;
    // What the kernel can find out by itself: a host that is gone. A server that is silent behind a good connection is
    // found by the deadlines of `connection`.
    config
        .connect_timeout(Duration::from_secs(1))
        .tcp_user_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(3))
        .keepalives_retries(3);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, ConnectError> {
        Server::new(&Settings {
            url: url.to_owned().into(),
            ca_file: None,
            route_connections: 1,
            background_connections: 1,
            api_connections: 1,
            heavy_connections: 1,
            export_connections: 1,
            prepared: &[],
        })
    }

    #[test]
    fn every_host_is_named_with_its_own_port() {
        let named = server("postgresql://u:p@one:5433,two/d").expect("valid");
        assert_eq!(named.names(), "one:5433, two:5432");
        let named = server("host=/run/a,/run/b port=5440 user=u").expect("valid");
        assert_eq!(named.names(), "/run/a:5440, /run/b:5440");
        let refused = server("host=a target_session_attrs=read-only");
        assert!(matches!(refused, Err(ConnectError::ReadOnlyWanted)));
    }

    #[test]
    fn a_timeline_only_goes_up() {
        let server = server("host=/run/a").expect("valid");
        let mut changes = server.cluster();
        let cluster = |timeline| Cluster {
            system: 7,
            timeline,
        };
        for timeline in [1, 1, 3] {
            server.note_cluster("a", cluster(timeline)).expect("good");
        }
        assert!(changes.has_changed().expect("is open"));
        assert_eq!(*changes.borrow_and_update(), Some(cluster(3)));
        let old = server.note_cluster("b", cluster(2));
        assert!(matches!(
            old,
            Err(ConnectError::OldPrimary { newest: 3, .. })
        ));
        assert!(!changes.has_changed().expect("is open"));
        assert!(!server.is_current(Some(cluster(1))));
        assert!(server.is_current(Some(cluster(3))) && server.is_current(None));
    }
}
