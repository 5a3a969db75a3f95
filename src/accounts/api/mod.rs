//! Operations on accounts: log-ins, sessions, keys, second factors, users, quotas, and the logs of what was done.

pub mod audit;
pub mod auth;
pub mod keys;
pub mod logins;
pub mod quotas;
pub mod recovery;
pub mod second_factor;
pub mod security_events;
pub mod sessions;
pub mod users;
