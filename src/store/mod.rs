//! PostgreSQL: the only place with SQL. One file per noun, typed rows in and out.
//!
//! It knows no policy: what a verdict or an outcome should be is decided in [`crate::domain`] and
//! [`crate::routing`]; here it becomes rows, and the statements guard that a cap is never passed and
//! nothing is counted twice whoever calls.

pub mod audit;
mod call_rows;
pub mod calls;
pub mod campaigns;
pub mod clients;
pub mod closed;
mod connection;
pub mod dids;
pub mod erasures;
mod error;
pub mod grants;
pub mod hangups;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod internal;
pub mod jobs;
pub mod keys;
pub mod keyset;
pub mod links;
pub mod live;
pub mod logs;
pub mod migrate;
pub mod offers;
mod pool;
pub mod quotas;
pub mod recorded;
pub mod recordings;
pub mod references;
pub mod request;
mod rows;
pub mod security;
mod server;
pub mod servers;
pub mod sessions;
pub mod shared;
pub mod sql;
pub mod statistics;
pub mod sweep;
pub mod throttle;
mod totals;
pub mod totp;
mod transaction;
pub mod transcribed;
pub mod transcripts;
pub mod usage;
pub mod users;

pub use error::{Error, Unavailable};
pub use pool::{Settings, Store, connect_as_owner};
pub use server::{Cluster, ConnectError};
