//! WAV files of telephony: their header, and the peaks of their sound. Pure.

pub mod header;
pub mod peaks;
