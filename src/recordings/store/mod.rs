//! Recordings in the database.

pub mod recordings;
pub mod shared_links;
pub mod sql;
pub mod views;
