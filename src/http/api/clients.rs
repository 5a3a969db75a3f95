//! Clients: call centres with their PJSIP objects.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
