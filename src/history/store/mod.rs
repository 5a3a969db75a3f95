//! History by month, and what is cleared out of it.

pub mod months;
pub mod references;
pub mod sql;
