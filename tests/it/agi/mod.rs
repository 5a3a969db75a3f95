//! FastAGI over real sockets, with a scripted engine behind it.

mod bad_peers;
mod corpus;
mod good_calls;
mod probe;
mod server;
mod wire;

use crate::support::scripted_router::Asked;
