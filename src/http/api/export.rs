//! The call log as CSV.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
