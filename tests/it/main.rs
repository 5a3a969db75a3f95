//! The integration tests, laid out like `src`.

mod ari;
mod support;
