//! The FastAGI protocol as bytes: environment in, commands out, replies in.
//!
//! Pure: no sockets, no clocks, no knowledge of what the variables mean. Whatever a peer sends is
//! bounded, and nothing that is written can become a second command: Asterisk cuts a line at 2,047
//! bytes and reads the rest as the next one, so lines stay well below and control characters never
//! leave.

mod command;
mod environment;
mod reply;

pub use command::{CommandError, MAX_COMMAND_BYTES, is_plain, set_variable, set_variables};
pub use environment::{
    Environment, EnvironmentError, MAX_ARGUMENTS, MAX_ENVIRONMENT_BYTES, MAX_LINE_BYTES,
    MAX_VARIABLES, Scanner,
};
pub use reply::{Line, Reply, ReplyReader};
