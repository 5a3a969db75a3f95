//! The integration tests, laid out like `src`.
#![allow(clippy::unwrap_used)]

mod ari;
mod support;
