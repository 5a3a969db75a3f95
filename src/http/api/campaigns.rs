//! Campaigns: a seller's plan for the calls to some DIDs.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
