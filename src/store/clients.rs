//! Clients with their PJSIP objects.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/clients"; }
}
