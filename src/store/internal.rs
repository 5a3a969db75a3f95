//! Records from outside.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/internal"; }
}
