//! Links as their sellers manage them.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/links"; }
}
