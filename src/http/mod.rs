//! HTTP: one accept loop for all listeners, and what is served on each.
//!
//! Only the listener for operators is here yet ([`ops`]). The routers know nothing of sockets, and the
//! loop ([`serve()`](serve())) nothing of what is served.

mod listener;
pub mod ops;
mod serve;

pub use listener::{BindError, bind};
pub use serve::{Limits, serve};
