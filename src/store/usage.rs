//! Use of caps, and what people change of it.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/usage"; }
}
