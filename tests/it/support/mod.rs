//! Stand-ins for the outside world.

pub mod fake_ari;
pub mod journal;
