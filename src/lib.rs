//! capconduit: a call-routing daemon for Asterisk.
//!
//! PostgreSQL remembers, Asterisk switches, capconduit decides and records. **AGI decides**
//! (synchronous, must answer at once), **ARI observes** (asynchronous, may be late or lose events),
//! **the sweep repairs** (periodic, compares open calls with live channels). Settling the same fact
//! twice is harmless.
//!
//! Imports go inward: the edges ([`agi`], [`ari`], [`http`], [`recording`],
//! [`transcription`]) know [`routing`], which knows [`store`],
//! which knows [`domain`]. Edges never know each other.

pub mod agi;
pub mod app;
pub mod ari;
pub mod cli;
pub mod clock;
pub mod config;
pub mod digest;
pub mod domain;
pub mod erasure;
pub mod house;
pub mod http;
pub mod metrics;
pub mod models;
pub mod password;
pub mod recording;
pub mod routing;
pub mod sealing;
pub mod shares;
pub mod storage;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod totp;
pub mod transcription;
pub mod wav;
