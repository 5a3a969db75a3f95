//! One integration binary, laid out like `src`.
#![allow(clippy::unwrap_used, missing_docs)]

mod agi;
mod api;
mod ari;
mod config;
mod daemon;
mod layering;
mod models;
mod ops;
mod recording;
mod render;
mod routing;
mod store;
mod support;
mod tls;
mod transcription;
