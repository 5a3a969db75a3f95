//! Transcripts and their queue in the database.

pub mod jobs;
pub mod sql;
pub mod transcripts;
pub mod views;
