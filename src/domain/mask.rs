//! Masks spoken numbers.
