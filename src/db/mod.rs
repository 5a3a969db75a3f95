//! PostgreSQL: the only place with SQL. One file per noun, typed rows in and out.
//!
//! It knows no policy: what a verdict or an outcome should be is decided in [`crate::domain`] and
//! [`crate::routing`]; here it becomes rows, and the statements guard that a cap is never passed and
//! nothing is counted twice whoever calls.

pub(crate) mod connection;
pub(crate) mod error;
pub mod health;
pub mod keyset;
pub mod migrate;
pub(crate) mod pool;
pub mod request;
pub(crate) mod rows;
pub(crate) mod server;
pub mod sql;
pub(crate) mod totals;
pub(crate) mod transaction;

pub use error::{Error, Unavailable};
pub use pool::{Settings, Store, connect_as_owner};
pub use server::{Cluster, ConnectError};
