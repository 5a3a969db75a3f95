//! Answers kept for repeated requests.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/idempotency"; }
}
