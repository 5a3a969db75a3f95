//! PostgreSQL: the only place with SQL. One file per noun, typed rows in and out.
//!
//! It knows no policy: what a verdict or an outcome should be is decided in [`crate::domain`] and
//! [`crate::routing`]; here it becomes rows, and the statements guard that a cap is never passed and
//! nothing is counted twice whoever calls.

pub mod calls;
mod error;
pub mod migrate;
pub mod offers;
mod pool;
mod rows;
pub mod sql;
pub mod sweep;
mod transaction;
pub mod users;

pub use error::Error;
pub use pool::{ConnectError, Settings, Store, connect_as_owner};
