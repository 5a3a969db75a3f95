//! The only reader of the system clock: everything else is handed "now".

use jiff::Timestamp;

/// The present moment, to the microsecond PostgreSQL keeps.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
