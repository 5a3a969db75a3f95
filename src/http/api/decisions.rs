//! Decisions: why a call went where it went, and where one would go now.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
