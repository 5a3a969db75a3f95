//! The transcriber as a process, with the library, models and speech of `tests/fixtures/vosk`; and its reader of WAV
//! files alone.
#![allow(clippy::unwrap_used, clippy::too_many_lines, missing_docs)]

mod input;
mod models;
mod process;
mod sandbox;
mod speech;
mod support;
mod wav;
