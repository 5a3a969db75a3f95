//! The audit log, as people read it.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/audit"; }
}
