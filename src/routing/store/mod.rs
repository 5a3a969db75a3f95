//! The engine's statements: decisions, claims, settling, the sweep. The only writer of calls and reservations.

pub mod calls;
pub mod closed;
pub mod offers;
pub mod rows;
pub mod sql;
pub mod sweep;
