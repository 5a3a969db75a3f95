//! Metrics that are read when somebody asks for them: the daemon's readiness, and the process as the kernel sees it.
//!
//! What cannot be read is left out; a scrape never fails for it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Kind, Metric, metric};

const READY: Metric = metric(
    "capconduit_ready",
    Kind::Gauge,
    &[],
    "1 while this daemon should be sent calls, as /readyz says",
);
const COMPONENT_READY: Metric = metric(
    "capconduit_component_ready",
    Kind::Gauge,
    &["component"],
    "1 while a component keeps no call from being routed, 0 while it is not ready",
);
const COMPONENT_DEGRADED: Metric = metric(
    "capconduit_component_degraded",
    Kind::Gauge,
    &["component"],
    "1 while a component does not do all it should, though calls are routed",
);
const CPU_SECONDS: Metric = metric(
    "process_cpu_seconds_total",
    Kind::Counter,
    &[],
    "Processor time the daemon has used, user and system",
);
const RESIDENT_BYTES: Metric = metric(
    "process_resident_memory_bytes",
    Kind::Gauge,
    &[],
    "Memory of the daemon that is in RAM",
);
const VIRTUAL_BYTES: Metric = metric(
    "process_virtual_memory_bytes",
    Kind::Gauge,
    &[],
    "Address space of the daemon",
);
const START_SECONDS: Metric = metric(
    "process_start_time_seconds",
    Kind::Gauge,
    &[],
    "When the daemon started, in seconds since 1970 (UTC)",
);
const OPEN_FILES: Metric = metric(
    "process_open_fds",
    Kind::Gauge,
    &[],
    "File descriptors the daemon has open",
);
const MOST_FILES: Metric = metric(
    "process_max_fds",
    Kind::Gauge,
    &[],
    "File descriptors the daemon may have open",
);
const THREADS: Metric = metric("process_threads", Kind::Gauge, &[], "Threads of the daemon");

/// Every metric of this kind.
pub const SCRAPED: &[Metric] = &[
    READY,
    COMPONENT_READY,
    COMPONENT_DEGRADED,
    CPU_SECONDS,
    RESIDENT_BYTES,
    VIRTUAL_BYTES,
    START_SECONDS,
    OPEN_FILES,
    MOST_FILES,
    THREADS,
];

/// When the process started, as near as it can tell itself.
static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// To be called as soon as the process runs.
pub(super) fn note_start() {
    LazyLock::force(&STARTED);
}

/// How a component stands, for its metrics.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its name.
    pub component: &'a str,
    /// It keeps no call from being routed.
    pub ready: bool,
    /// It does not do all it should.
    pub degraded: bool,
}

/// The metrics as they are now, in the text format of Prometheus 0.0.4. `ready`: the daemon should be sent calls.
pub fn scraped(ready: bool, components: &[Standing<'_>]) -> String {
    let mut text = String::new();
    family(&mut text, READY, &[("", number(ready))]);
    let labelled = |of: fn(&Standing<'_>) -> bool| -> Vec<_> {
        (components.iter())
            .map(|standing| (standing.component, number(of(standing))))
            .collect()
    };
    family(&mut text, COMPONENT_READY, &labelled(|s| s.ready));
    family(&mut text, COMPONENT_DEGRADED, &labelled(|s| s.degraded));
    let started = STARTED.duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64());
    let read = Process::read(Path::new("/proc/self"));
    for (metric, value) in [
        (CPU_SECONDS, read.cpu_seconds),
        (RESIDENT_BYTES, read.resident_bytes),
        (VIRTUAL_BYTES, read.virtual_bytes),
        (START_SECONDS, started.ok()),
        (OPEN_FILES, read.open_files),
        (MOST_FILES, read.most_files),
        (THREADS, read.threads),
    ] {
        let series: Vec<_> = value.map(|value| ("", value)).into_iter().collect();
        family(&mut text, metric, &series);
    }
    text
}

fn number(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Help, type and series, each with the value of the metric's one label. Nothing for no series.
fn family(text: &mut String, metric: Metric, series: &[(&str, f64)]) {
    if series.is_empty() {
        return;
    }
    let Metric {
        name, help, labels, ..
    } = metric;
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Seconds => "gauge",
    };
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (value_of_label, value) in series {
        let _ = match labels {
            [label] => {
                let escaped = value_of_label.replace('\\', "\\\\").replace('"', "\\\"");
                writeln!(text, "{name}{{{label}=\"{escaped}\"}} {value}")
            }
            _ => writeln!(text, "{name} {value}"),
        };
    }
}

/// What the kernel tells of a process; `None` is what it does not.
#[derive(Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
    threads: Option<f64>,
}

impl Process {
    /// Reads `stat`, `fd` and `limits` of a process's directory below /proc (proc(5)).
    fn read(directory: &Path) -> Self {
        let stat = std::fs::read_to_string(directory.join("stat")).unwrap_or_default();
        // The program's name is in parentheses and may hold blanks. What follows starts with field 3.
        let fields: Vec<&str> = (stat.rsplit_once(") "))
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let limits = std::fs::read_to_string(directory.join("limits")).unwrap_or_default();
        let most_files = (limits.lines())
            .find_map(|line| line.strip_prefix("Max open files"))
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
        let open_files = std::fs::read_dir(directory.join("fd")).ok();
        Self {
            cpu_seconds: ticks.map(|ticks| ticks / ticks_per_second),
            threads: field(20),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * rustix::param::page_size() as f64),
            // One of them is that of the directory being read.
            open_files: open_files.map(|entries| entries.count().saturating_sub(1) as f64),
            most_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_this_process() {
        let read = Process::read(Path::new("/proc/self"));
        let at_least = |value: Option<f64>, least: f64| value.is_some_and(|v| v >= least);
        assert!(at_least(read.cpu_seconds, 0.0), "{read:?}");
        assert!(at_least(read.resident_bytes, 1_000_000.0), "{read:?}");
        assert!(read.virtual_bytes > read.resident_bytes, "{read:?}");
        assert!(at_least(read.open_files, 3.0), "{read:?}");
        assert!(read.most_files >= read.open_files, "{read:?}");
        assert!(at_least(read.threads, 1.0), "{read:?}");
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(
            Process::read(Path::new("/proc/self/nothing")),
            Process::default()
        );
        let mut text = String::new();
        family(&mut text, MOST_FILES, &[]);
        assert_eq!(text, "");
    }

    #[test]
    fn a_name_cannot_forge_a_series() {
        let text = scraped(
            false,
            &[Standing {
                component: "ari:p\"b\\x",
                ready: false,
                degraded: true,
            }],
        );
        assert!(text.contains("capconduit_ready 0\n"), "{text}");
        let line = "capconduit_component_ready{component=\"ari:p\\\"b\\\\x\"} 0\n";
        assert!(text.contains(line), "{text}");
        let line = "capconduit_component_degraded{component=\"ari:p\\\"b\\\\x\"} 1\n";
        assert!(text.contains(line), "{text}");
    }
}
