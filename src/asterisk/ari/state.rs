//! What is seen of a watcher from outside, and the times it keeps.

use std::time::Duration;

use jiff::Timestamp;

/// What readiness and the curious see of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not yet connected, or connected and not yet compared.
    Connecting,
    /// Events arrive, and calls have been compared with channels.
    InSync {
        /// Since when without a break.
        since: Timestamp,
        /// What somebody should mend all the same.
        warnings: Vec<String>,
    },
    /// Events arrive, but some were lost or the comparison failed; it is being tried again.
    OutOfSync {
        /// Why.
        reason: String,
    },
    /// No events arrive; connecting is being tried again.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// Another connection uses our application name. Someone must act: two daemons share a `node.name`.
    Replaced,
    /// Asterisk refuses user or password. Someone must act.
    Unauthorized,
}

impl LinkState {
    /// Events arrive, and calls have been compared with channels.
    pub fn is_in_sync(&self) -> bool {
        matches!(self, Self::InSync { .. })
    }
}

/// Times and sizes of a watcher. The defaults are for production; tests shorten them.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Time between two comparisons of calls with channels.
    pub sweep_interval: Duration,
    /// Time between two pings; a server silent for two of them is dropped at the third.
    pub ping_interval: Duration,
    /// For opening the stream, and for each REST request as a whole.
    pub request_timeout: Duration,
    /// For each verb of the engine about one call.
    pub observe_timeout: Duration,
    /// For a comparison, which may have many calls to end.
    pub reconcile_timeout: Duration,
    /// How often a fact is offered to a failing engine before the comparison has to find it.
    pub observe_attempts: u32,
    /// First pause before another attempt, of anything.
    pub backoff_first: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// Pause after a wrong password: it does not mend itself, and servers ban those who insist.
    pub unauthorized_pause: Duration,
    /// Pause after another took our name: two that both return at once would never end.
    pub replaced_pause: Duration,
    /// Shortest time between two comparisons, however many facts are lost.
    pub resync_gap: Duration,
    /// Facts waiting for the engine.
    pub queue_capacity: usize,
    /// Time between two looks at the server's clock.
    pub clock_interval: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            sweep_interval: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            observe_timeout: Duration::from_secs(2),
            reconcile_timeout: Duration::from_secs(20),
            observe_attempts: 3,
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            unauthorized_pause: Duration::from_secs(30),
            replaced_pause: Duration::from_secs(60),
            resync_gap: Duration::from_secs(1),
            queue_capacity: 10_000,
            clock_interval: Duration::from_secs(60),
        }
    }
}
