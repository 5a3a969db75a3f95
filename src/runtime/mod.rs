//! What every part of the daemon runs on: supervision, logs, metrics, the clock. Names nothing of telephony.

pub mod clock;
pub mod digest;
pub mod metrics;
pub mod shares;
pub mod supervisor;
pub mod telemetry;
