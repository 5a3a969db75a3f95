//! Integration tests, laid out like `src`.

mod agi;
mod support;
