//! Operations on calls.

pub mod decisions;
pub mod events;
pub mod export;
pub mod hangups;
pub mod internal;
pub mod live;
pub mod logs;
pub mod servers;
pub mod statistics;
