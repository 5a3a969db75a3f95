//! The protocols towards Asterisk: FastAGI asks, ARI observes. Neither knows the other.

pub mod agi;
pub mod ari;
