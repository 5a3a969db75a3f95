//! The call log, as people read it.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/logs"; }
}
