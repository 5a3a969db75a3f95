//! What several test modules share.

pub mod agi_client;
pub mod agi_daemon;
pub mod asterisk_args;
pub mod scripted_router;
