//! The daemon put together: the only module that knows every other, and it only wires.

pub mod statements;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use rustls::crypto::ring;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::accounts::api::quotas::Quotas;
use crate::accounts::sealing::{SealingKey, SealingKeys};
use crate::asterisk::agi;
use crate::asterisk::agi::probe::PingError;
use crate::asterisk::ari::{self, LinkState, Watcher};
use crate::config::{Asterisk, Config, RecordingStorage, Transcription};
use crate::db;
use crate::db::Store;
use crate::db::migrate::SchemaError;
use crate::domain::ServerName;
use crate::history;
use crate::history::House;
use crate::history::store::months::HistoryTable;
use crate::recordings;
use crate::recordings::Places;
use crate::recordings::collector::Collector;
use crate::recordings::object_storage;
use crate::recordings::object_storage::Storage;
use crate::routing::{self, Engine};
use crate::runtime::supervisor::{Component, Readiness, State, Supervisor, os_signals, systemd};
use crate::runtime::telemetry::Chain;
use crate::runtime::{clock, metrics};
use crate::transcripts;
use crate::transcripts::Status;
use crate::transcripts::process::Program;
use crate::{http, privacy};

/// How often the database is looked at for readiness.
const LOOK_AT_DATABASE: Duration = Duration::from_secs(2);

/// What is added to the longest life of a call before its slot is taken back unseen.
const CERTAINLY_OVER: Duration = Duration::from_secs(60);

/// How long the AGI port may take to answer the self-check.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// How often the database is measured.
const MEASURE: Duration = Duration::from_secs(60);

/// How far apart clocks may be. What is due is told by the database's clock alone, but logs and certificates are not.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// How long the last security events may take to be written.
const EVENTS_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait for a name server at start.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);

/// Serves until asked to end or until a task dies.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // Both TLS clients share one provider; a second call would find it installed.
    let _ = ring::default_provider().install_default();
    let metrics = metrics::install()?;
    let requests = os_signals().context("cannot listen for signals")?;
    let mut supervisor = Supervisor::new();
    let signals = supervisor.signals();
    let readiness = Readiness::new(signals.drain.clone());

    let store = Store::new(&store_settings(&config))?;
    let storage = storage(&config)?;
    let engine = Engine::new(
        store.clone(),
        engine_settings(&config, servers_of(&config).await),
    );

    keep_ends(&engine);

    // Everything that can fail for want of a port does so before anything is served.
    let (agi_listener, agi_origin) = agi_listener(&config)?;
    let agi_address = agi_listener.local_addr()?;
    let ops_listener = http::bind(config.ops.listen, "ops.listen").await?;
    let ops_address = ops_listener.local_addr()?;
    let watchers = config
        .asterisk
        .iter()
        .map(|asterisk| watcher(asterisk, &config, &engine))
        .collect::<anyhow::Result<Vec<_>>>()?;

    tell_remarks(&config);
    let tls = tls(&config)?;
    let listeners = api_listeners(&config).await?;
    let http_address = listeners.0.local_addr()?;

    let database = readiness.component("database");
    let schema = readiness.component("schema");
    let clock = readiness.component("clock");
    clock.ready();
    let agi_ready = readiness.component("agi");
    spawn_watchers(&mut supervisor, &readiness, watchers);

    let limits = agi::Limits {
        decision: config.routing.answer_deadline,
        sessions: config.agi.max_sessions,
        ..agi::Limits::default()
    };
    // The last to end: callers that come meanwhile are answered while requests and transcripts are finished.
    supervisor.spawn_until_exit(
        "agi",
        agi::serve(
            vec![agi_listener],
            engine.clone(),
            limits,
            signals.close.clone(),
            signals.abort.clone(),
        ),
    );
    agi_ready.ready();
    let parts = (&store, &engine, &storage);
    let shown = ["proxies", "certificate"].map(|name| readiness.component(name));
    spawn_api(&mut supervisor, (listeners, tls), shown, parts, &config);
    spawn_transcription(
        &mut supervisor,
        &readiness,
        storage.as_ref(),
        &config,
        &store,
    );
    supervisor.spawn_until_stop(
        "ops",
        http::serve(
            ops_listener,
            http::ops::router(metrics.clone(), readiness),
            http::Limits::OPS,
            signals.stop.clone(),
        ),
    );
    supervisor.spawn_until_stop("metrics", metrics::upkeep(metrics, signals.stop.clone()));
    let components = [database, schema, clock];
    spawn_looks_at_database(&mut supervisor, &store, components);
    spawn_repairs(&mut supervisor, engine, &store, &config);
    spawn_erasures(&mut supervisor, &config, storage.clone(), &store);
    spawn_recording(&mut supervisor, &config, storage, &store);
    if let Some(limit) = systemd::watchdog_limit() {
        supervisor.spawn_until_stop(
            "watchdog",
            systemd::feed_watchdog(
                limit,
                move || answers_pings(agi_address),
                signals.stop.clone(),
            ),
        );
    }

    info!(
        node = config.node.name,
        agi = %agi_address,
        agi.listener = agi_origin,
        http = %http_address,
        ops = %ops_address,
        version = env!("CARGO_PKG_VERSION"),
        "capconduit is up"
    );
    systemd::ready();
    supervisor.run(requests, config.shutdown.drain).await?;
    store.close();
    info!("capconduit has ended");
    Ok(())
}

/// What in the configuration is allowed and unwise.
fn tell_remarks(config: &Config) {
    for (key, remark) in &config.remarks {
        warn!(key, "{remark}");
    }
}

/// Where everybody asks, and where programs do if that is apart.
async fn api_listeners(config: &Config) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    let outside = http::bind(config.http.listen, "http.listen").await?;
    let Some(internal) = &config.internal else {
        return Ok((outside, None));
    };
    let inside = http::bind(internal.listen, "internal.listen").await?;
    info!(internal = %inside.local_addr()?, "programs have a listener of their own");
    Ok((outside, Some(inside)))
}

/// Ends that wait for the database are kept on disk too, in the directory that systemd names to the unit.
fn keep_ends(engine: &Engine) {
    let Some(directory) = std::env::var_os("STATE_DIRECTORY") else {
        return;
    };
    let directory = Path::new(&directory);
    if let Err(error) = engine.keep_ends_in(directory) {
        warn!(%error, directory = %directory.display(),
            "ends that wait for the database are kept in memory only");
    }
}

/// The database part of the configuration.
pub fn store_settings(config: &Config) -> db::Settings {
    db::Settings {
        url: config.database.url.clone(),
        ca_file: config.database.ca_file.clone(),
        route_connections: config.database.route_connections,
        background_connections: config.database.background_connections,
        api_connections: config.database.api_connections,
        heavy_connections: config.database.heavy_connections,
        export_connections: config.database.export_connections,
        prepared: &routing::store::sql::HOT,
    }
}

/// As [`store_settings`], with the login that owns the tables, where there is one of its own.
pub fn owner_settings(config: &Config) -> db::Settings {
    let mut settings = store_settings(config);
    if let Some(url) = &config.database.migrate_url {
        settings.url = url.clone();
    }
    settings
}

/// Certificate and key of the API, where it speaks TLS itself.
pub fn tls(config: &Config) -> anyhow::Result<Option<http::Tls>> {
    let Some((certificate, key)) = &config.http.tls else {
        return Ok(None);
    };
    let tls = http::Tls::open(certificate, key).context(
        "the API cannot be served with TLS: see http.tls_certificate_file and http.tls_key_file",
    )?;
    Ok(Some(tls))
}

/// The API is served until the drain begins; requests begun by then are finished.
fn spawn_api(
    supervisor: &mut Supervisor,
    ((listener, internal), tls): ((TcpListener, Option<TcpListener>), Option<http::Tls>),
    [proxies, certificate]: [Component; 2],
    (store, engine, storage): (&Store, &Engine, &Option<Storage>),
    config: &Config,
) {
    let limits = http::Limits {
        connections: config.http.max_connections,
        from_one: config.http.connections_per_address,
        exempt: config.http.trusted_proxies.clone(),
        ..http::Limits::API
    };
    let settings = api_settings(config);
    let untrusted = settings.untrusted_proxy.clone();
    let mut routers = http::api::routers(store.clone(), engine.clone(), storage.clone(), settings);
    let signals = supervisor.signals();
    if tls.is_none() {
        certificate.not_configured();
    }
    if let Some(tls) = &tls {
        routers.outside = http::with_hsts(routers.outside);
        let stop = signals.stop.clone();
        let kept = tls.clone().keep_current(certificate, stop);
        supervisor.spawn_until_stop("certificate", kept);
    }
    let serving = http::serve_with(
        listener,
        tls,
        routers.outside,
        limits,
        signals.drain.clone(),
    );
    let events = routers.security_events;
    supervisor.spawn("http", async move {
        serving.await;
        // The routers are gone: what they noted is written down.
        if timeout(EVENTS_LIMIT, events).await.is_err() {
            error!("security events are lost: the database does not take them");
        }
    });
    if let Some((listener, settings)) = internal.zip(config.internal.as_ref()) {
        let limits = http::Limits {
            connections: settings.max_connections,
            // These are few and known.
            from_one: settings.max_connections,
            allowed: settings.allow.clone(),
            ..http::Limits::API
        };
        let serving = http::serve(listener, routers.inside, limits, signals.drain);
        supervisor.spawn("internal", serving);
    }
    let tells = tell_untrusted_proxies(untrusted, proxies);
    supervisor.spawn_until_stop("proxies", until(signals.stop, tells));
}

/// Readiness tells of a reverse proxy that is not trusted: all its visitors share the limits of one.
async fn tell_untrusted_proxies(
    untrusted: http::kit::address::UntrustedProxy,
    component: Component,
) -> Infallible {
    component.not_configured();
    loop {
        tokio::time::sleep(LOOK_AT_DATABASE).await;
        if let Some(peer) = untrusted.seen() {
            component.degraded(format!(
                "{peer} names others as senders of its requests and is not among http.trusted_proxies: all of them count as one"
            ));
            std::future::pending::<()>().await;
        }
    }
}

/// What keeps readiness and metrics true about the database.
fn spawn_looks_at_database(
    supervisor: &mut Supervisor,
    store: &Store,
    [database, schema, clock]: [Component; 3],
) {
    let stop = supervisor.signals().stop;
    let looks = look_at_database(store.clone(), database, schema);
    supervisor.spawn_until_stop("database", until(stop.clone(), looks));
    let measures = measure_database(store.clone(), clock);
    supervisor.spawn_until_stop("measures", until(stop, measures));
}

/// What is compared, mended and cleared away again and again.
fn spawn_repairs(supervisor: &mut Supervisor, engine: Engine, store: &Store, config: &Config) {
    let stop = supervisor.signals().stop;
    if !config.asterisk.is_empty() {
        let orders = carry_out_orders(engine.clone());
        supervisor.spawn_until_stop("hang-ups", until(stop.clone(), orders));
    }
    let sweeps = sweep(engine, config.routing.sweep_interval);
    supervisor.spawn_until_stop("sweep", until(stop.clone(), sweeps));
    let house = keep_house(store.clone(), kept_months(config));
    supervisor.spawn_until_stop("house", until(stop, house));
}

/// Where recordings are kept, if they are.
pub fn storage(config: &Config) -> Result<Option<Storage>, object_storage::Error> {
    let settings = config.recording.storage.as_ref().map(storage_settings);
    settings
        .map(|settings| Storage::open(&settings))
        .transpose()
}

fn storage_settings(storage: &RecordingStorage) -> object_storage::Settings {
    match storage {
        RecordingStorage::Directory(root) => object_storage::Settings::Directory(root.clone()),
        RecordingStorage::S3(s3) => object_storage::Settings::S3(object_storage::S3Settings {
            bucket: s3.bucket.clone(),
            prefix: s3.prefix.clone(),
            endpoint: s3.endpoint.as_ref().map(ToString::to_string),
            region: s3.region.clone(),
            credentials: s3.credentials.clone(),
        }),
    }
}

/// Erasures are carried out by any daemon; files are deleted by one that collects them.
fn spawn_erasures(
    supervisor: &mut Supervisor,
    config: &Config,
    storage: Option<Storage>,
    store: &Store,
) {
    let places = config.recording.directory.clone().zip(storage);
    let places = places.map(|(directory, storage)| Places { directory, storage });
    let stop = supervisor.signals().stop;
    let work = privacy::run(config.node.name.clone(), store.clone(), places);
    supervisor.spawn_until_stop("erasures", until(stop, work));
}

/// Recordings are collected, and deleted when their time is over, where Asterisk writes some.
fn spawn_recording(
    supervisor: &mut Supervisor,
    config: &Config,
    storage: Option<Storage>,
    store: &Store,
) {
    let Some((directory, storage)) = config.recording.directory.clone().zip(storage) else {
        return;
    };
    let places = Places { directory, storage };
    let stop = supervisor.signals().stop;
    let collector = Collector::new(places.clone(), store.clone());
    supervisor.spawn_until_stop("recordings", until(stop.clone(), collector.run()));
    supervisor.spawn_until_stop(
        "retention",
        until(
            stop,
            recordings::retention::run(places, store.clone(), retention_limits(config)),
        ),
    );
}

/// How long recordings are kept, whatever their campaigns say.
fn retention_limits(config: &Config) -> recordings::retention::Limits {
    let days = |days: Option<u32>| days.and_then(|days| i32::try_from(days).ok());
    recordings::retention::Limits {
        fewest: days(config.recording.retention_min_days),
        most: days(config.recording.retention_max_days),
    }
}

/// What transcribing needs to know of the configuration.
pub fn transcription_program(config: &Transcription) -> Program {
    Program {
        path: transcripts::process::program_path(config.worker.as_deref()),
        memory: config.worker_memory,
    }
}

/// Where the configuration says that models are.
pub fn model_places(config: &Transcription) -> transcripts::models::Places {
    transcripts::models::Places {
        directory: config.model_directory.clone(),
        named: config.models.clone(),
    }
}

/// Recordings are transcribed wherever they can be had. Without a model this only looks for one now and then, and
/// counts jobs.
fn spawn_transcription(
    supervisor: &mut Supervisor,
    readiness: &Readiness,
    storage: Option<&Storage>,
    config: &Config,
    store: &Store,
) {
    let component = readiness.component("transcription");
    component.not_configured();
    let Some(storage) = storage else {
        return;
    };
    let program = transcription_program(&config.transcription);
    let places = model_places(&config.transcription);
    let settings = transcripts::Settings {
        workers: config.transcription.workers,
        max_audio: config.transcription.max_audio,
        time_factor: config.transcription.time_factor,
        ..transcripts::Settings::new(&config.node.name, program, places)
    };
    let transcription = transcripts::Service::new(settings, store.clone(), storage.clone());
    let signals = supervisor.signals();
    let shown = show_transcription(transcription.view(), component, signals.stop.clone());
    supervisor.spawn_until_stop("transcription readiness", shown);
    // Nothing waits for a transcript: jobs go back at once, for another daemon to begin.
    supervisor.spawn("transcription", transcription.run(signals.drain));
}

async fn show_transcription(
    mut view: watch::Receiver<transcripts::models::View>,
    component: Component,
    stop: CancellationToken,
) {
    loop {
        match Status::of(&view.borrow_and_update()) {
            Status::Starting | Status::NotUsed => component.not_configured(),
            Status::Ready => component.ready(),
            Status::Degraded(reason) => component.degraded(reason),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = view.changed() => if changed.is_err() {
                // It ends before this does.
                stop.cancelled().await;
                return;
            },
        }
    }
}

/// What the API is told.
fn api_settings(config: &Config) -> http::api::Settings {
    let http = &config.http;
    let tokens = [&http.internal_token, &http.previous_internal_token];
    http::api::Settings {
        internal_tokens: tokens.into_iter().flatten().cloned().collect(),
        public_origin: http
            .public_url
            .as_ref()
            .map(|url| url.origin().ascii_serialization()),
        cors_origins: http.cors_origins.clone(),
        require_if_match: http.require_if_match,
        node: config.node.name.clone(),
        transcribes: config.transcription.workers > 0,
        secure_cookies: http.tls.is_some()
            || http
                .public_url
                .as_ref()
                .is_some_and(|u| u.scheme() == "https"),
        trusted_proxies: http.trusted_proxies.clone(),
        forwarded_header: http.forwarded_header,
        untrusted_proxy: http::kit::address::UntrustedProxy::default(),
        contexts: config.pjsip.contexts.clone(),
        session_idle: http.session_idle,
        session_age: http.session_age,
        remember: http.remember,
        login_attempts: http.login_attempts,
        login_lock: http.login_lock,
        requests_per_minute: http.requests_per_minute,
        anonymous_requests_per_minute: http.anonymous_requests_per_minute,
        internal_apart: config.internal.is_some(),
        quotas: quotas(config),
        claims: config.dids.claims,
        accounts: account_settings(config),
    }
}

/// What the API is told of accounts.
fn account_settings(config: &Config) -> http::api::Accounts {
    let accounts = &config.accounts;
    http::api::Accounts {
        key_default: accounts.key_default,
        key_max: accounts.key_max,
        password_rule: accounts.password_rule,
        second_factor: accounts.second_factor,
        sealing_key: accounts.sealing_key.as_ref().map(|current| {
            let key = |text: &SecretString| SealingKey::new(text.expose_secret());
            Arc::new(SealingKeys {
                current: key(current),
                previous: accounts.previous_sealing_key.as_ref().map(key),
            })
        }),
    }
}

fn quotas(config: &Config) -> Quotas {
    let quotas = &config.quotas;
    Quotas {
        dids: quotas.dids.map(i64::from),
        campaigns: quotas.campaigns.map(i64::from),
        links: quotas.links.map(i64::from),
        keys: quotas.keys.map(i64::from),
        recording_bytes: quotas.recordings_gb.map(|gb| i64::from(gb) * 1_000_000_000),
    }
}

type Servers = Vec<(ServerName, Vec<IpAddr>)>;

/// What the engine is told.
fn engine_settings(config: &Config, servers: Servers) -> routing::Settings {
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    routing::Settings {
        node: config.node.name.clone(),
        ring_budget_seconds: seconds(config.routing.ring_budget),
        // The dialplan's clock starts anew with each verdict, so a call may be older than its limit by
        // all the time it rang. Only then is it certain that it cannot live any more.
        max_call_seconds: seconds(
            config.routing.max_call + config.routing.ring_budget + CERTAINLY_OVER,
        ),
        records: config.recording.directory.is_some(),
        servers,
    }
}

/// The Asterisk servers with the addresses their calls come from.
async fn servers_of(config: &Config) -> Servers {
    let mut servers = Vec::with_capacity(config.asterisk.len());
    for asterisk in &config.asterisk {
        servers.push((asterisk.name.clone(), addresses_of(asterisk).await));
    }
    servers
}

async fn addresses_of(asterisk: &Asterisk) -> Vec<IpAddr> {
    let host = asterisk.url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(Ok(addresses)) = timeout(RESOLVE_LIMIT, tokio::net::lookup_host((host, 0))).await {
        return addresses.map(|a| a.ip()).collect();
    }
    warn!(asterisk = %asterisk.name, host,
        "host cannot be resolved: calls are matched to this server once its channels are seen");
    Vec::new()
}

/// The settings to reach one Asterisk server's ARI with.
pub fn ari_server(asterisk: &Asterisk, config: &Config) -> Result<ari::Server, ari::ServerError> {
    ari::Server::new(
        asterisk.name.as_str(),
        asterisk.url.as_str(),
        &asterisk.username,
        asterisk.password.clone(),
        &config.node.name,
    )
}

fn watcher(
    asterisk: &Asterisk,
    config: &Config,
    engine: &Engine,
) -> anyhow::Result<(ServerName, Watcher<Engine>)> {
    let server = ari_server(asterisk, config)
        .with_context(|| format!("[[asterisk]] {} cannot be used", asterisk.name))?;
    let tuning = ari::Tuning {
        sweep_interval: config.routing.sweep_interval,
        ..ari::Tuning::default()
    };
    let watcher = Watcher::new(server, engine.clone(), tuning)
        .with_context(|| format!("cannot prepare to watch {}", asterisk.name))?;
    engine.attach(asterisk.name.clone(), watcher.switch());
    Ok((asterisk.name.clone(), watcher))
}

fn spawn_watchers(
    supervisor: &mut Supervisor,
    readiness: &Readiness,
    watchers: Vec<(ServerName, Watcher<Engine>)>,
) {
    if watchers.is_empty() {
        readiness.component("ari").not_configured();
        warn!(
            "no [[asterisk]] is configured: slots rest on the dialplan's reports and on the hard \
             limit of a call's life alone"
        );
    }
    let stop = supervisor.signals().stop;
    for (name, watcher) in watchers {
        let component = readiness.component(format!("ari:{name}"));
        let shown = show_link(watcher.state(), component, stop.clone());
        supervisor.spawn_until_stop(format!("ari:{name}"), watcher.run(stop.clone()));
        supervisor.spawn_until_stop(format!("ari readiness:{name}"), shown);
    }
}

/// The socket systemd opened for us, else our own.
fn agi_listener(config: &Config) -> anyhow::Result<(TcpListener, &'static str)> {
    let inherited = systemd::inherited_listener().context("cannot take the socket from systemd")?;
    if let Some(listener) = inherited {
        return Ok((TcpListener::from_std(listener)?, "systemd"));
    }
    let address = config.agi.listen;
    let listener = agi::bind(address).with_context(|| {
        format!("cannot listen on {address}: choose another address with agi.listen")
    })?;
    Ok((listener, "own"))
}

async fn show_link(
    mut state: watch::Receiver<LinkState>,
    component: Component,
    stop: CancellationToken,
) {
    loop {
        match &*state.borrow_and_update() {
            LinkState::InSync { warnings, .. } if warnings.is_empty() => component.ready(),
            LinkState::InSync { warnings, .. } => component.degraded(warnings.join("; ")),
            LinkState::Connecting => component.not_ready("connecting"),
            LinkState::OutOfSync { reason } => {
                component.not_ready(format!("out of sync: {reason}"));
            }
            LinkState::Disconnected { reason } => component.not_ready(reason.clone()),
            LinkState::Replaced => component
                .not_ready("another daemon uses our name: give each daemon its own node.name"),
            LinkState::Unauthorized => component
                .not_ready("Asterisk refuses user or password: compare [[asterisk]] with ari.conf"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = state.changed() => if changed.is_err() {
                // The watcher has ended, which its own supervision reports.
                stop.cancelled().await;
                return;
            },
        }
    }
}

async fn until(stop: CancellationToken, task: impl Future<Output = Infallible>) {
    tokio::select! {
        () = stop.cancelled() => {}
        never = task => match never {},
    }
}

/// Keeps readiness true about the database, and says so when it changes.
async fn look_at_database(store: Store, database: Component, schema: Component) -> Infallible {
    store.warm_up().await;
    let mut last = None;
    let mut looks = interval(LOOK_AT_DATABASE);
    loop {
        looks.tick().await;
        let found = timeout(LOOK_AT_DATABASE, store.check_schema()).await;
        let problem = match found {
            Ok(Ok(())) => {
                database.ready();
                schema.ready();
                None
            }
            Ok(Err(SchemaError::Schema(error))) => {
                database.ready();
                schema.not_ready(error.to_string());
                Some(Chain(&error).to_string())
            }
            Ok(Err(SchemaError::Store(error))) => {
                database.not_ready("does not answer");
                Some(Chain(&error).to_string())
            }
            Err(_) => {
                database.not_ready("does not answer in time");
                Some("the database does not answer in time".to_owned())
            }
        };
        if problem != last {
            match &problem {
                Some(problem) => error!(
                    problem,
                    "the database cannot be used: calls take the dialplan's fallback"
                ),
                None if last.is_some() => info!("the database can be used again"),
                None => info!("the database can be used"),
            }
            last = problem;
        }
    }
}

/// Measures what nobody notices until it hurts: how far this host's clock is from the database's, and how old the
/// oldest snapshot in the database is.
async fn measure_database(store: Store, shown: Component) -> Infallible {
    let mut rounds = interval(MEASURE);
    loop {
        rounds.tick().await;
        match store.clock_offset(clock::now).await {
            Ok(offset) => {
                metrics::clock_offset("database", offset.as_secs_f64());
                shown.set(clock_state(offset));
            }
            // Whether the database answers is told elsewhere.
            Err(error) => debug!(error = %Chain(&error), "the database's clock cannot be read"),
        }
        match store.oldest_snapshot().await {
            Ok(oldest) => metrics::db_oldest_snapshot(oldest.seconds),
            Err(error) => debug!(error = %Chain(&error), "the oldest snapshot cannot be read"),
        }
    }
}

/// What readiness says of this host's clock, which is ahead of the database's by so much.
fn clock_state(offset: SignedDuration) -> State {
    if offset.abs() <= CLOCK_TOLERANCE {
        return State::Ready;
    }
    let (seconds, side) = (
        offset.abs().as_secs_f64(),
        if offset.is_positive() {
            "ahead of"
        } else {
            "behind"
        },
    );
    State::Degraded(
        format!(
            "this host's clock is {seconds:.1} s {side} the database's: see that both hosts keep time (NTP)"
        )
        .into(),
    )
}

/// Something done again and again, which may fail for a while. A single failure is no news: connections that PostgreSQL
/// ended are told of where they are kept. One line tells that it goes on failing, and one that it works again.
struct Repeated {
    what: &'static str,
    failures: u32,
}

impl Repeated {
    fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    fn note<E: std::error::Error + 'static>(&mut self, outcome: Result<(), E>) {
        let what = self.what;
        match outcome {
            Ok(()) => {
                if self.failures > 1 {
                    info!("{what} works again");
                }
                self.failures = 0;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let error = Chain(&error);
                if self.failures == 2 {
                    warn!(%error, "{what} goes on failing; it is tried again and again");
                } else {
                    debug!(%error, "{what} failed; it is tried again");
                }
            }
        }
    }
}

async fn sweep(engine: Engine, every: Duration) -> Infallible {
    let mut sweeps = interval(every);
    let mut outcomes = Repeated::new("the sweep");
    loop {
        sweeps.tick().await;
        outcomes.note(engine.sweep().await);
    }
}

/// Between two looks for calls that other daemons want ended here.
const ORDERS: Duration = Duration::from_millis(500);

async fn carry_out_orders(engine: Engine) -> Infallible {
    let mut looks = interval(ORDERS);
    let mut outcomes = Repeated::new("ending calls for other daemons");
    loop {
        looks.tick().await;
        outcomes.note(engine.carry_out_orders().await.map(|_| ()));
    }
}

async fn keep_house(store: Store, keep: history::Keep) -> Infallible {
    let mut house = House::new(store, keep);
    let mut rounds = interval(history::ROUND);
    loop {
        rounds.tick().await;
        house.round().await;
    }
}

/// How many months of which table are kept, where not all are.
fn kept_months(config: &Config) -> history::Keep {
    let keep = &config.retention;
    [
        (HistoryTable::CallLogs, keep.call_logs_months),
        (HistoryTable::CallAttempts, keep.call_attempts_months),
        (HistoryTable::Decisions, keep.decisions_months),
        (HistoryTable::AuditLog, keep.audit_log_months),
        (HistoryTable::SecurityEvents, keep.security_events_months),
    ]
    .into_iter()
    .filter_map(|(table, months)| Some((table, months?)))
    .collect()
}

/// Whether the AGI port answers, as a caller would notice. Only what a restart would mend is an error: a daemon that has
/// no session left answers others.
async fn answers_pings(address: SocketAddr) -> Result<(), String> {
    let reachable = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => (IpAddr::from([127, 0, 0, 1]), address.port()),
        ip if ip.is_unspecified() => (std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        ip => (ip, address.port()),
    };
    match timeout(PING_LIMIT, agi::probe::ping(reachable.into())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ PingError::Closed)) => {
            warn!(error = %Chain(&error), "self-check without an answer");
            Ok(())
        }
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(_) => Err("the AGI port does not answer in time".to_owned()),
    }
}

/// An engine as the daemon's, for the command line, to which no call comes from anywhere.
pub fn engine(config: &Config) -> anyhow::Result<Engine> {
    let store = Store::new(&store_settings(config))?;
    Ok(Engine::new(store, engine_settings(config, Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told_with_its_side() {
        let state = |milliseconds| clock_state(SignedDuration::from_millis(milliseconds));
        assert_eq!(state(-2_000), State::Ready);
        let text = |state| match state {
            State::Degraded(reason) => reason.into_owned(),
            other => panic!("{other:?}"),
        };
        assert!(text(state(65_000)).contains("65.0 s ahead of the database's"));
        assert!(text(state(-2_100)).contains("2.1 s behind the database's"));
    }
}
