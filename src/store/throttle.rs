//! Failed logins.

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/throttle"; }
}
