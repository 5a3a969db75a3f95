//! What goes wrong with a session, counted by a closed set of kinds and logged without flooding.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use tracing::{error, warn};

use super::wire::{CommandError, EnvironmentError};
use crate::runtime::metrics;

/// Why a session ended without doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The peer closed or reset before its environment was complete.
    #[error("the peer left before its environment was complete")]
    ClosedEarly,
    /// What it sent is not an environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The environment was not complete in time.
    #[error("the environment was not complete in time")]
    EnvironmentTimeout,
    /// Closed to make room for a newer session.
    #[error("closed without a complete environment to make room")]
    Evicted,
    /// Every session is at work.
    #[error("too many sessions at work")]
    Full,
    /// No script of this name.
    #[error("no such script")]
    UnknownScript,
    /// The environment names no call.
    #[error("agi_uniqueid is missing or not usable")]
    NoUniqueId,
    /// The peer closed or reset before it had acknowledged the answer.
    #[error("the peer left before it had taken the answer")]
    Gone,
    /// The caller hung up and Asterisk closed before it had acknowledged the answer.
    #[error("the caller hung up before the answer was taken")]
    HungUp,
    /// No reply to a command in time.
    #[error("no reply to a command in time")]
    ReplyTimeout,
    /// A reply line beyond all bounds.
    #[error("the reply is too long")]
    ReplyTooLong,
    /// Asterisk refused a command.
    #[error("Asterisk refused the command: {0}")]
    Refused(&'static str),
    /// A value of ours cannot be sent safely.
    #[error("the answer cannot be sent")]
    Unsendable(#[source] CommandError),
    /// The engine failed.
    #[error("the engine gave no answer")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine did not answer in time.
    #[error("the engine did not answer in time")]
    EngineTimeout,
    /// The listener cannot accept.
    #[error("cannot accept connections")]
    Accept(#[source] io::Error),
}

impl Fault {
    /// The metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClosedEarly => "closed_early",
            Self::Environment(
                EnvironmentError::NotAgi | EnvironmentError::Duplicate | EnvironmentError::TwoEnds,
            ) => "not_agi",
            Self::Environment(_) => "environment_too_long",
            Self::EnvironmentTimeout => "environment_timeout",
            Self::Evicted => "evicted",
            Self::Full => "full",
            Self::UnknownScript => "unknown_script",
            Self::NoUniqueId => "no_uniqueid",
            Self::Gone => "peer_gone",
            Self::HungUp => "hangup",
            Self::ReplyTimeout => "reply_timeout",
            Self::ReplyTooLong => "reply_too_long",
            Self::Refused(_) => "refused",
            Self::Unsendable(_) => "unsendable",
            Self::Engine(_) => "engine",
            Self::EngineTimeout => "engine_timeout",
            Self::Accept(_) => "accept",
        }
    }

    /// Whether someone must act: the fault is on our side and calls are not being decided.
    fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Engine(_)
                | Self::EngineTimeout
                | Self::Unsendable(_)
                | Self::Accept(_)
                | Self::Full
        )
    }
}

/// Counts every fault and logs at most one of ours and one of the peers' each second.
#[derive(Debug)]
pub struct Faults {
    started: Instant,
    ours: Gate,
    theirs: Gate,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            ours: Gate::default(),
            theirs: Gate::default(),
        }
    }
}

impl Faults {
    /// Reports one fault.
    pub fn report(&self, fault: &Fault, peer: Option<SocketAddr>) {
        let kind = fault.kind();
        metrics::agi_error(kind);
        let second = self.started.elapsed().as_secs() + 1;
        let ours = fault.is_ours();
        let gate = if ours { &self.ours } else { &self.theirs };
        let Some(suppressed) = gate.pass(second) else {
            return;
        };
        let peer = peer.map(tracing::field::display);
        let chain = Chain(fault);
        if ours {
            error!(peer, kind, suppressed, "AGI session failed: {chain}");
        } else {
            warn!(peer, kind, suppressed, "AGI session failed: {chain}");
        }
    }
}

/// Lets one through each second and counts the others.
#[derive(Debug, Default)]
struct Gate {
    last: AtomicU64,
    suppressed: AtomicU64,
}

impl Gate {
    fn pass(&self, second: u64) -> Option<u64> {
        if self.last.swap(second, Ordering::Relaxed) == second {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// An error with its causes, on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_passes_one_a_second_and_counts_the_rest() {
        let gate = Gate::default();
        assert_eq!(gate.pass(1), Some(0));
        assert_eq!(gate.pass(1), None);
        assert_eq!(gate.pass(1), None);
        assert_eq!(gate.pass(2), Some(2));
        assert_eq!(gate.pass(9), Some(0));
    }

    #[test]
    fn the_log_names_all_causes() {
        let fault = Fault::Unsendable(CommandError::TooLong { name: "A" });
        assert_eq!(
            Chain(&fault).to_string(),
            "the answer cannot be sent: the command that sets A is too long"
        );
    }
}
