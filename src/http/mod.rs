//! HTTP: one accept loop for all listeners, and what is served on each.
//!
//! [`api`] is for sellers, administrators and programs, [`ops`] for operators. The routers know nothing of
//! sockets, and the loop ([`serve()`](serve())) nothing of what is served.

pub mod api;
pub mod kit;
mod listener;
pub mod ops;
mod serve;
mod tls;

pub use listener::{BindError, bind};
pub use serve::{Cut, Ending, Limits, serve, serve_with};
pub use tls::{Expiry, Tls, TlsError, Trouble, with_hsts};
