//! Accounts in the database.

pub mod audit;
pub mod keys;
pub mod quotas;
pub mod second_factor;
pub mod security;
pub mod sessions;
pub mod throttle;
pub mod users;
