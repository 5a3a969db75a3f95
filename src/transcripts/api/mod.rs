//! Operations on transcripts and on the queue that makes them.

pub mod jobs;
pub mod transcripts;
