//! What programs beside the daemon ask: `route_info` and `log_call`.

use super::operation::Operation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}
