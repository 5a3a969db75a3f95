//! The names, helps and buckets of all metrics, and small functions for those with labels.
//!
//! It knows no module that counts. Invariant: every series stands in [`ALL`], and label values are from
//! closed sets: words of the program, or names from the configuration. Never a number that somebody
//! dialled, a caller, a tenant or an id.

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio_util::sync::CancellationToken;

mod scraped;

pub use scraped::{SCRAPED, Standing, scraped};

/// Decisions answered, by verdict and reason.
pub const ROUTE_DECISIONS: &str = "capconduit_route_decisions_total";
/// Time from the question to the answer.
pub const ROUTE_DECISION_SECONDS: &str = "capconduit_route_decision_seconds";
/// Calls not yet closed.
pub const CALLS_ACTIVE: &str = "capconduit_calls_active";
/// Reservations that occupy a slot, by state.
pub const RESERVATIONS_OPEN: &str = "capconduit_reservations_open";
/// Reservations that ended because nobody settled them.
pub const RESERVATIONS_EXPIRED: &str = "capconduit_reservations_expired_total";
/// What reconciliation had to mend, by kind.
pub const RECONCILE_REPAIRS: &str = "capconduit_reconcile_repairs_total";
/// Difference between usage counters and open reservations. Must stay zero.
pub const USAGE_DRIFT: &str = "capconduit_usage_drift";
/// FastAGI sessions now open.
pub const AGI_SESSIONS_ACTIVE: &str = "capconduit_agi_sessions_active";
/// FastAGI sessions that may be open at once.
pub const AGI_SESSIONS_LIMIT: &str = "capconduit_agi_sessions_limit";
/// FastAGI sessions that went wrong, by kind.
pub const AGI_ERRORS: &str = "capconduit_agi_errors_total";
/// Whether the event stream of a server is connected and in sync.
pub const ARI_CONNECTED: &str = "capconduit_ari_connected";
/// Events received, by type; types we do not use are one.
pub const ARI_EVENTS: &str = "capconduit_ari_events_total";
/// Times the event stream of a server was connected anew.
pub const ARI_RECONNECTS: &str = "capconduit_ari_reconnects_total";
/// Facts thrown away because the queue of a server was full.
pub const ARI_FACTS_DROPPED: &str = "capconduit_ari_facts_dropped_total";
/// What is wrong with the names of servers.
pub const SERVER_CONFLICTS: &str = "capconduit_server_conflicts";
/// Database connections in use.
pub const DB_POOL_IN_USE: &str = "capconduit_db_pool_in_use";
/// Time spent waiting for a database connection.
pub const DB_POOL_WAIT_SECONDS: &str = "capconduit_db_pool_wait_seconds";
/// Times no database connection came free in time, by pool.
pub const DB_POOL_EXHAUSTED: &str = "capconduit_db_pool_exhausted_total";
/// Age of the oldest snapshot in the database.
pub const DB_OLDEST_SNAPSHOT_SECONDS: &str = "capconduit_db_oldest_snapshot_seconds";
/// This host's clock minus another's, by whose.
pub const CLOCK_OFFSET_SECONDS: &str = "capconduit_clock_offset_seconds";
/// Recordings, by what became of them.
pub const RECORDINGS: &str = "capconduit_recordings_total";
/// Files in the directory of recordings that belong to no attempt.
pub const RECORDINGS_UNCLAIMED: &str = "capconduit_recordings_unclaimed_files";
/// Recordings whose files are to come.
pub const RECORDINGS_WAITING: &str = "capconduit_recordings_waiting";
/// Room where Asterisk records.
pub const RECORDING_FREE_BYTES: &str = "capconduit_recording_free_bytes";
/// Room where recordings are kept.
pub const STORAGE_FREE_BYTES: &str = "capconduit_storage_free_bytes";
/// Transcription jobs, by state.
pub const TRANSCRIPTION_JOBS: &str = "capconduit_transcription_jobs";
/// Audio transcribed.
pub const TRANSCRIPTION_AUDIO_SECONDS: &str = "capconduit_transcription_audio_seconds_total";
/// Transcribers, by what they do.
pub const TRANSCRIPTION_WORKERS: &str = "capconduit_transcription_workers";
/// Attempts at transcribing that came to nothing, by reason.
pub const TRANSCRIPTION_FAILURES: &str = "capconduit_transcription_failures_total";
/// Rows that lie in no month, by table.
pub const PARTITION_DEFAULT_ROWS: &str = "capconduit_partition_default_rows";
/// Partitions dropped because their time was over, by table.
pub const PARTITIONS_DROPPED: &str = "capconduit_partitions_dropped_total";
/// Chores of the housekeeping that failed, by chore.
pub const HOUSEKEEPING_FAILURES: &str = "capconduit_housekeeping_failures_total";
/// Security events kept, by event.
pub const SECURITY_EVENTS: &str = "capconduit_security_events_total";
/// Security events that could not be kept.
pub const SECURITY_EVENTS_LOST: &str = "capconduit_security_events_lost_total";
/// HTTP requests answered, by route, method and status.
pub const HTTP_REQUESTS: &str = "capconduit_http_requests_total";
/// HTTP requests refused because too many were at work, by why.
pub const HTTP_REFUSED: &str = "capconduit_http_refused_total";
/// Time from the head of an HTTP request to the head of its answer, by route and method.
pub const HTTP_REQUEST_SECONDS: &str = "capconduit_http_request_seconds";
/// When a certificate that is served expires.
pub const CERTIFICATE_EXPIRY: &str = "capconduit_certificate_expiry_timestamp_seconds";
/// Always 1; its label says which version runs.
pub const BUILD_INFO: &str = "capconduit_build_info";

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds.
    Seconds,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name, as Prometheus sees it.
    pub name: &'static str,
    /// What it measures.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Help text.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric that is counted as things happen. Those read when asked for are [`SCRAPED`].
pub const ALL: &[Metric] = &[
    metric(
        ROUTE_DECISIONS,
        Kind::Counter,
        &["verdict", "reason"],
        "Routing decisions answered",
    ),
    metric(
        ROUTE_DECISION_SECONDS,
        Kind::Seconds,
        &[],
        "Time from question to answer of a decision",
    ),
    metric(CALLS_ACTIVE, Kind::Gauge, &[], "Calls not yet closed"),
    metric(
        RESERVATIONS_OPEN,
        Kind::Gauge,
        &["state"],
        "Reservations that occupy a slot",
    ),
    metric(
        RESERVATIONS_EXPIRED,
        Kind::Counter,
        &[],
        "Reservations that nobody settled in time",
    ),
    metric(
        RECONCILE_REPAIRS,
        Kind::Counter,
        &["kind"],
        "What reconciliation had to mend",
    ),
    metric(
        USAGE_DRIFT,
        Kind::Gauge,
        &[],
        "Usage counters minus open reservations; must stay 0",
    ),
    metric(
        AGI_SESSIONS_ACTIVE,
        Kind::Gauge,
        &[],
        "FastAGI sessions now open",
    ),
    metric(
        AGI_SESSIONS_LIMIT,
        Kind::Gauge,
        &[],
        "FastAGI sessions that may be open at once (agi.max_sessions)",
    ),
    metric(
        AGI_ERRORS,
        Kind::Counter,
        &["kind"],
        "FastAGI sessions that went wrong",
    ),
    metric(
        ARI_CONNECTED,
        Kind::Gauge,
        &["server"],
        "1 while the ARI stream is connected and in sync",
    ),
    metric(ARI_EVENTS, Kind::Counter, &["type"], "ARI events received"),
    metric(
        ARI_RECONNECTS,
        Kind::Counter,
        &["server"],
        "Times the ARI stream was connected anew",
    ),
    metric(
        SERVER_CONFLICTS,
        Kind::Gauge,
        &["server", "kind"],
        "Asterisk servers that share a name, a system name, an address or a machine; must stay 0",
    ),
    metric(
        ARI_FACTS_DROPPED,
        Kind::Counter,
        &["server"],
        "Facts thrown away because the queue was full; the next comparison with Asterisk makes up for them",
    ),
    metric(
        DB_POOL_IN_USE,
        Kind::Gauge,
        &[],
        "Database connections in use",
    ),
    metric(
        DB_POOL_WAIT_SECONDS,
        Kind::Seconds,
        &[],
        "Time spent waiting for a database connection",
    ),
    metric(
        DB_POOL_EXHAUSTED,
        Kind::Counter,
        &["pool"],
        "Times no database connection of a pool came free in time, though the database answers",
    ),
    metric(
        DB_OLDEST_SNAPSHOT_SECONDS,
        Kind::Gauge,
        &[],
        "Age of the oldest snapshot in the database, which keeps old row versions from being cleared away",
    ),
    metric(
        CLOCK_OFFSET_SECONDS,
        Kind::Gauge,
        &["peer"],
        "Seconds that this host's clock is ahead of the peer's",
    ),
    metric(
        RECORDINGS,
        Kind::Counter,
        &["outcome"],
        "Recordings stored, missing, without sound, deleted, and failures to store one",
    ),
    metric(
        RECORDINGS_UNCLAIMED,
        Kind::Gauge,
        &[],
        "Files where Asterisk records that belong to no attempt",
    ),
    metric(
        RECORDINGS_WAITING,
        Kind::Gauge,
        &[],
        "Recordings of ended calls whose files are not stored yet",
    ),
    metric(
        RECORDING_FREE_BYTES,
        Kind::Gauge,
        &[],
        "Bytes free where Asterisk records",
    ),
    metric(
        STORAGE_FREE_BYTES,
        Kind::Gauge,
        &[],
        "Bytes free where recordings are kept; absent where that is no directory",
    ),
    metric(
        TRANSCRIPTION_JOBS,
        Kind::Gauge,
        &["state"],
        "Transcription jobs",
    ),
    metric(
        TRANSCRIPTION_AUDIO_SECONDS,
        Kind::Counter,
        &[],
        "Seconds of audio transcribed",
    ),
    metric(
        TRANSCRIPTION_WORKERS,
        Kind::Gauge,
        &["state"],
        "Transcribers by what they do: busy, idle or down",
    ),
    metric(
        TRANSCRIPTION_FAILURES,
        Kind::Counter,
        &["code"],
        "Attempts at transcribing that came to nothing",
    ),
    metric(
        PARTITION_DEFAULT_ROWS,
        Kind::Gauge,
        &["table"],
        "Rows in the default partition, counted up to 10000; 0 but for a minute",
    ),
    metric(
        PARTITIONS_DROPPED,
        Kind::Counter,
        &["table"],
        "Partitions dropped because retention.* says so",
    ),
    metric(
        HOUSEKEEPING_FAILURES,
        Kind::Counter,
        &["chore"],
        "Chores of the housekeeping that failed and are tried again",
    ),
    metric(
        SECURITY_EVENTS,
        Kind::Counter,
        &["event"],
        "Security events kept",
    ),
    metric(
        SECURITY_EVENTS_LOST,
        Kind::Counter,
        &[],
        "Security events that could not be kept",
    ),
    metric(
        HTTP_REQUESTS,
        Kind::Counter,
        &["route", "method", "status"],
        "HTTP requests answered",
    ),
    metric(
        HTTP_REFUSED,
        Kind::Counter,
        &["reason"],
        "HTTP requests and connections refused to keep room for others",
    ),
    metric(
        HTTP_REQUEST_SECONDS,
        Kind::Seconds,
        &["route", "method"],
        "Time from the head of an HTTP request to the head of its answer",
    ),
    metric(
        CERTIFICATE_EXPIRY,
        Kind::Gauge,
        &["listener"],
        "When the certificate that is served expires, in seconds since 1970",
    ),
    metric(
        BUILD_INFO,
        Kind::Gauge,
        &["version"],
        "Always 1; the label says which version runs",
    ),
];

/// Fine around the promise (p99 under 50 ms), with an edge at the default deadline (1.2 s) and at its
/// limit (1.5 s).
const SECONDS_BUCKETS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 1.2, 1.5, 3.0,
];

/// How often [`upkeep`] folds what was measured into the buckets; without it memory would grow between
/// scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter refused its settings.
    #[error("the metrics exporter cannot be built")]
    Build(#[source] BuildError),
    /// Somebody was here before.
    #[error("a metrics recorder is already installed")]
    AlreadySet,
}

/// A recorder that knows all metrics, for a test or for [`install`].
pub fn recorder() -> Result<PrometheusRecorder, Error> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Seconds) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), SECONDS_BUCKETS)
            .map_err(Error::Build)?;
    }
    let recorder = builder.build_recorder();
    metrics::with_local_recorder(&recorder, introduce);
    Ok(recorder)
}

/// Makes the metrics of the whole process go to one recorder. Once per process.
pub fn install() -> Result<PrometheusHandle, Error> {
    scraped::note_start();
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| Error::AlreadySet)?;
    Ok(handle)
}

/// Keeps the recorder's memory bounded, until `stop`.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => handle.run_upkeep(),
        }
    }
}

/// Describes all metrics, and gives those without labels their zero: an alert on a series that does not
/// exist yet never fires.
fn introduce() {
    for metric in ALL {
        let Metric { name, help, .. } = *metric;
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, Unit::Count, help),
            Kind::Gauge => metrics::describe_gauge!(name, Unit::Count, help),
            Kind::Seconds => metrics::describe_histogram!(name, Unit::Seconds, help),
        }
        // No room and no directory to have room in are not the same.
        if metric.labels.is_empty() && name != STORAGE_FREE_BYTES {
            match metric.kind {
                Kind::Counter => counter!(name).absolute(0),
                Kind::Gauge => gauge!(name).set(0.0),
                Kind::Seconds => drop(histogram!(name)),
            }
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// A decision was answered after `elapsed`. `reason` is the refusal's code, or `none` for an offer.
pub fn route_decision(verdict: &'static str, reason: &'static str, elapsed: Duration) {
    counter!(ROUTE_DECISIONS, "verdict" => verdict, "reason" => reason).increment(1);
    histogram!(ROUTE_DECISION_SECONDS).record(elapsed);
}

/// The oldest snapshot in the database has this age.
pub fn db_oldest_snapshot(seconds: f64) {
    gauge!(DB_OLDEST_SNAPSHOT_SECONDS).set(seconds);
}

/// This host's clock is ahead of a peer's by so much. `peer` is `database`, or the name of an Asterisk server.
pub fn clock_offset(peer: &str, seconds: f64) {
    gauge!(CLOCK_OFFSET_SECONDS, "peer" => peer.to_owned()).set(seconds);
}

/// So many calls are not yet closed.
pub fn calls_active(calls: u64) {
    gauge!(CALLS_ACTIVE).set(calls as f64);
}

/// So many reservations are in this open state.
pub fn reservations_open(state: &'static str, reservations: u64) {
    gauge!(RESERVATIONS_OPEN, "state" => state).set(reservations as f64);
}

/// So many reservations ended because nobody settled them.
pub fn reservations_expired(reservations: u64) {
    counter!(RESERVATIONS_EXPIRED).increment(reservations);
}

/// Reconciliation mended so many of this kind.
pub fn reconcile_repairs(kind: &'static str, repairs: u64) {
    counter!(RECONCILE_REPAIRS, "kind" => kind).increment(repairs);
}

/// Something is wrong with a server's name; see `docs/observability.md` for the kinds.
pub fn server_conflicts(server: &str, kind: &'static str, conflicts: u64) {
    gauge!(SERVER_CONFLICTS, "server" => server.to_owned(), "kind" => kind).set(conflicts as f64);
}

/// The usage counters differ from the open reservations by this much, all links together.
pub fn usage_drift(drift: u64) {
    gauge!(USAGE_DRIFT).set(drift as f64);
}

/// What became of a recording, for [`recordings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingOutcome {
    /// Its files are stored.
    Stored,
    /// Its files did not come.
    Missing,
    /// Its files hold no sound.
    Empty,
    /// Its time was over.
    Deleted,
    /// It could not be stored this time.
    Failed,
}

impl RecordingOutcome {
    /// As its label says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}

/// This became of so many recordings.
pub fn recordings(outcome: RecordingOutcome, recordings: u64) {
    counter!(RECORDINGS, "outcome" => outcome.as_str()).increment(recordings);
}

/// So many files belong to no attempt.
pub fn recordings_unclaimed(files: usize) {
    gauge!(RECORDINGS_UNCLAIMED).set(files as f64);
}

/// The files of so many recordings are to come.
pub fn recordings_waiting(recordings: u64) {
    gauge!(RECORDINGS_WAITING).set(recordings as f64);
}

/// So many bytes are free where Asterisk records.
pub fn recording_free_bytes(bytes: u64) {
    gauge!(RECORDING_FREE_BYTES).set(bytes as f64);
}

/// So many bytes are free where recordings are kept.
pub fn storage_free_bytes(bytes: u64) {
    gauge!(STORAGE_FREE_BYTES).set(bytes as f64);
}

/// So many FastAGI sessions may be open at once.
pub fn agi_sessions_limit(sessions: usize) {
    gauge!(AGI_SESSIONS_LIMIT).set(sessions as f64);
}

/// A FastAGI session went wrong.
pub fn agi_error(kind: &'static str) {
    counter!(AGI_ERRORS, "kind" => kind).increment(1);
}

/// An event came. `kind` is one of the types we use, or `other`: Asterisk must not make up labels.
pub fn ari_event(kind: &'static str) {
    counter!(ARI_EVENTS, "type" => kind).increment(1);
}

/// So many database connections are in use, all pools together.
pub fn db_pool_in_use(connections: usize) {
    gauge!(DB_POOL_IN_USE).set(connections as f64);
}

/// A connection was waited for, had or not.
pub fn db_pool_wait(elapsed: Duration) {
    histogram!(DB_POOL_WAIT_SECONDS).record(elapsed);
}

/// All connections of a pool stayed in use.
pub fn db_pool_exhausted(pool: &'static str) {
    counter!(DB_POOL_EXHAUSTED, "pool" => pool).increment(1);
}

/// A request or a connection was refused to keep room for others: `account`, `heavy`, `stream`, `password` or
/// `connection`, by what there was too much of.
pub fn http_refused(reason: &'static str) {
    counter!(HTTP_REFUSED, "reason" => reason).increment(1);
}

/// The certificate that a listener serves expires at this second since 1970.
pub fn certificate_expiry(listener: &'static str, second: i64) {
    gauge!(CERTIFICATE_EXPIRY, "listener" => listener).set(second as f64);
}

/// So many jobs are in this state.
pub fn transcription_jobs(state: &'static str, jobs: i64) {
    gauge!(TRANSCRIPTION_JOBS, "state" => state).set(jobs as f64);
}

/// A recording of this length was transcribed.
pub fn transcription_audio(audio: Duration) {
    // The exporter counts whole numbers; parts of a second are of no use here.
    counter!(TRANSCRIPTION_AUDIO_SECONDS).increment(audio.as_millis().div_ceil(1_000) as u64);
}

/// So many transcribers are idle, busy, or cannot be started.
pub fn transcription_workers(idle: u32, busy: u32, down: u32) {
    for (state, workers) in [("idle", idle), ("busy", busy), ("down", down)] {
        gauge!(TRANSCRIPTION_WORKERS, "state" => state).set(f64::from(workers));
    }
}

/// An attempt at transcribing came to nothing. `code` is one of the program's.
pub fn transcription_failure(code: &'static str) {
    counter!(TRANSCRIPTION_FAILURES, "code" => code).increment(1);
}

/// So many rows of a table lie in its default partition.
pub fn partition_default_rows(table: &'static str, rows: u64) {
    gauge!(PARTITION_DEFAULT_ROWS, "table" => table).set(rows as f64);
}

/// A partition of a table was dropped.
pub fn partition_dropped(table: &'static str) {
    counter!(PARTITIONS_DROPPED, "table" => table).increment(1);
}

/// A chore of the housekeeping failed.
pub fn housekeeping_failure(chore: &'static str) {
    counter!(HOUSEKEEPING_FAILURES, "chore" => chore).increment(1);
}

/// A security event was kept. `event` is one of the program's.
pub fn security_event(event: &'static str) {
    counter!(SECURITY_EVENTS, "event" => event).increment(1);
}

/// A security event could not be kept.
pub fn security_event_lost() {
    counter!(SECURITY_EVENTS_LOST).increment(1);
}

/// A request was answered. `route` is the pattern that matched (or `none`), never the path itself, and
/// `method` is one we serve (or `other`).
pub fn http_request(route: &'static str, method: &'static str, status: u16, elapsed: Duration) {
    counter!(
        HTTP_REQUESTS,
        "route" => route, "method" => method, "status" => status.to_string()
    )
    .increment(1);
    histogram!(HTTP_REQUEST_SECONDS, "route" => route, "method" => method).record(elapsed);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn use_every_metric() {
        route_decision("dial", "none", Duration::from_millis(3));
        reservations_open("held", 1);
        reconcile_repairs("gone", 1);
        server_conflicts("pbx1", "name", 0);
        agi_error("timeout");
        gauge!(ARI_CONNECTED, "server" => "pbx \"1\"\\").set(1.0);
        ari_event("Dial");
        counter!(ARI_RECONNECTS, "server" => "pbx1").increment(0);
        counter!(ARI_FACTS_DROPPED, "server" => "pbx1").increment(0);
        transcription_jobs("queued", 0);
        transcription_audio(Duration::from_secs(1));
        transcription_workers(1, 0, 0);
        transcription_failure("silent");
        recordings(RecordingOutcome::Stored, 1);
        partition_default_rows("call_logs", 0);
        partition_dropped("decisions");
        housekeeping_failure("forget_calls");
        security_event("login");
        security_event_lost();
        http_request("/healthz", "GET", 200, Duration::from_millis(1));
        db_pool_wait(Duration::from_micros(70));
        db_pool_exhausted("api");
        http_refused("heavy");
        certificate_expiry("http", 1_800_000_000);
        db_oldest_snapshot(0.5);
        storage_free_bytes(1 << 30);
        clock_offset("database", -0.25);
    }

    /// Name, labels, value; strict enough that what passes is the text format of Prometheus 0.0.4.
    fn parse(line: &str) -> (&str, BTreeMap<&str, String>, f64) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        let Some((name, labels)) = series.split_once('{') else {
            return (series, BTreeMap::new(), value);
        };
        let mut rest = labels.strip_suffix('}').unwrap();
        let mut found = BTreeMap::new();
        while !rest.is_empty() {
            let (label, quoted) = rest.split_once("=\"").unwrap();
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next().unwrap() {
                    (_, '\\') => text.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("escape {c:?} in {line}"),
                    }),
                    (at, '"') => break at + 1,
                    (_, c) => text.push(c),
                }
            };
            assert!(found.insert(label, text).is_none(), "{label} twice");
            rest = &quoted[end..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        (name, found, value)
    }

    #[test]
    fn what_is_rendered_is_what_prometheus_reads() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, use_every_metric);
        let component = Standing {
            component: "ari:pbx1",
            ready: true,
            degraded: false,
        };
        let text = handle.render() + &scraped(true, &[component]);

        let mut helps = BTreeMap::new();
        let mut types = BTreeMap::new();
        let mut labels_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
            {
                assert!(helps.insert(name, help).is_none(), "{name} helped twice");
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
            {
                assert!(types.insert(name, kind).is_none(), "{name} typed twice");
            } else {
                let (series, labels, _) = parse(line);
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .filter_map(|suffix| series.strip_suffix(suffix))
                    .find(|family| types.get(family) == Some(&"histogram"))
                    .unwrap_or(series);
                assert!(types.contains_key(family), "{line} before its TYPE");
                let labels = labels.keys().copied().filter(|label| *label != "le");
                labels_of.entry(family).or_default().extend(labels);
            }
        }

        for metric in ALL.iter().chain(SCRAPED) {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Seconds => "histogram",
            };
            assert_eq!(types.get(metric.name), Some(&kind), "{}", metric.name);
            assert_eq!(
                helps.get(metric.name),
                Some(&metric.help),
                "{}",
                metric.name
            );
            let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
            assert_eq!(labels_of.get(metric.name), Some(&labels), "{}", metric.name);
        }
        let known = ALL.len() + SCRAPED.len();
        assert_eq!(types.len(), known, "a metric that is in no list");
    }

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../docs/observability.md");
        let missing = ALL.iter().chain(SCRAPED).filter(|metric| {
            let row = format!("| `{}", metric.name);
            !page.lines().any(|line| {
                line.strip_prefix(&row)
                    .is_some_and(|rest| rest.starts_with(['`', '{']))
            })
        });
        assert_eq!(
            missing.map(|metric| metric.name).collect::<Vec<_>>(),
            [""; 0]
        );
    }

    /// The alert rules that are shipped, and the table that explains them.
    #[test]
    fn alert_rules_name_metrics_that_exist_and_are_explained() {
        let rules = include_str!("../../monitoring/prometheus-rules.yml");
        let page = include_str!("../../docs/observability.md");
        let known: BTreeSet<&str> = (ALL.iter().chain(SCRAPED)).map(|m| m.name).collect();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut alerts = BTreeSet::new();
        let mut expressions = 0;
        for line in rules.lines().map(str::trim_start) {
            if let Some(alert) = line.strip_prefix("- alert: ") {
                assert!(alerts.insert(alert), "{alert} twice");
            }
            let Some(expression) = line.strip_prefix("expr: ") else {
                continue;
            };
            expressions += 1;
            let words = expression.split(|c| !is_word(c));
            let mut named = words
                .filter(|w| w.starts_with("capconduit_") || w.starts_with("process_"))
                .peekable();
            assert!(named.peek().is_some(), "no metric of ours in {expression}");
            for word in named {
                let family = word.strip_suffix("_bucket").unwrap_or(word);
                assert!(known.contains(family), "{word} in {expression}");
            }
        }
        assert_eq!(alerts.len(), expressions, "an alert without expression");
        let explained: BTreeSet<&str> = (page.lines())
            .filter_map(|line| line.strip_prefix("| `Capconduit"))
            .filter_map(|rest| Some(rest.split_once('`')?.0))
            .collect();
        let names: BTreeSet<&str> = (alerts.iter())
            .map(|alert| alert.strip_prefix("Capconduit").unwrap_or(alert))
            .collect();
        assert_eq!(names, explained);
    }

    /// A name that stands elsewhere has no help text, and no test sees it.
    #[test]
    fn no_other_module_names_a_metric() {
        let mut directories = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src").into()];
        let mut strays: Vec<std::path::PathBuf> = Vec::new();
        while let Some(directory) = directories.pop() {
            let entries = std::fs::read_dir::<&std::path::PathBuf>(&directory).unwrap();
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    directories.push(path);
                } else if !["src/runtime/metrics.rs", "src/runtime/metrics/scraped.rs"]
                    .iter()
                    .any(|ours| path.ends_with(ours))
                {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    // Roles of the database, and the beginning of environment variables.
                    let others = ["app\"", "api\"", "asterisk\"", "admin\"", "\""];
                    let mut names = text.split("\"capconduit_").skip(1);
                    let found = names.any(|rest| !others.iter().any(|o| rest.starts_with(o)));
                    strays.extend(found.then_some(path));
                }
            }
        }
        assert_eq!(strays, [""; 0].map(std::path::PathBuf::from));
    }
}
