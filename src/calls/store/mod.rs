//! Calls as they are read and counted.

pub mod hangups;
pub mod internal;
pub mod live;
pub mod logs;
pub mod servers;
pub mod statistics;
