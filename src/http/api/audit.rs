//! The audit log: who changed what.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
