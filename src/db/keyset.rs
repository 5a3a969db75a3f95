//! Where a list goes on: after the row that has this key and this id, in this order.

use jiff::Timestamp;

/// Stands for a time that never comes, and for one that is not yet known, where rows are ordered by it: 9999-12-30, which
/// every client can hold.
pub const END_OF_TIME: Timestamp = Timestamp::constant(253_402_128_000, 0);

/// Stands for a length that is not known, where rows are ordered by it: before all others.
pub const NO_LENGTH: i64 = -1;

/// The order of a list, and the row it goes on after.
#[derive(Debug, Clone, Copy)]
pub struct Keyset {
    /// As the statement writes it.
    pub sort: &'static str,
    /// Id of that row; none: from the beginning.
    pub id: Option<i64>,
    /// The time by which it is ordered, where it is one.
    pub time: Option<Timestamp>,
    /// The number by which it is ordered, where it is one.
    pub number: Option<i64>,
}

impl Keyset {
    /// From the beginning.
    pub fn whole(sort: &'static str) -> Self {
        Self {
            sort,
            id: None,
            time: None,
            number: None,
        }
    }
}
