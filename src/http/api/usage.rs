//! Use of caps, pauses and corrections.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
