//! Calls under way, as people look at them.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/live"; }
}
