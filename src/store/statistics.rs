//! Sums over the call log.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/statistics"; }
}
