//! Operations on recordings: playback, links for people without an account, waveforms, legal hold.

pub mod peaks;
pub mod recordings;
pub mod shared_links;
