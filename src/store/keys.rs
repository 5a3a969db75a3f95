//! API keys.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/keys"; }
}
