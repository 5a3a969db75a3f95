//! Places in lists, and what a part of a list answers: the one way that all lists go on.
//!
//! A cursor says after which row the next part begins. Clients keep it as it is: what it holds is ours to change.
//! Each list has a mark of its own, so that no list takes another's cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::code::Code;
use super::query::{Parameter, ParameterKind, Query, parameter};
use super::{Problem, trace};

/// Begins at the beginning, in any list.
pub const START: &str = "start";

/// What a cursor looks like, for the document.
pub const PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

/// Counts what a list by cursor finds.
pub const TOTAL: Parameter = parameter(
    "total",
    ParameterKind::Choice(&["true", "false"]),
    "`true`: also counts all items that the filters leave, which takes long for many.",
);

/// Which list, and in which order, a cursor is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub u8);

impl Mark {
    /// Lists by page.
    pub const PAGES: Self = Self(b'p');
    /// The audit log.
    pub const AUDIT: Self = Self(b'a');
    /// Recordings.
    pub const RECORDINGS: Self = Self(b'r');
    /// Erasures.
    pub const ERASURES: Self = Self(b'e');
    /// Security events.
    pub const SECURITY: Self = Self(b's');
    /// Jobs of transcription.
    pub const JOBS: Self = Self(b'j');
}

/// A place as clients keep it.
pub fn write(mark: Mark, place: &[u8]) -> String {
    let mut bytes = vec![mark.0];
    bytes.extend(place);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that a request goes on from, if it says one. [`START`] is none.
pub fn read<const N: usize>(query: &Query, mark: Mark) -> Result<Option<[u8; N]>, Problem> {
    match query.text("cursor") {
        None | Some(START) => Ok(None),
        Some(text) => parse(text, mark).map(Some).ok_or_else(bad),
    }
}

fn parse<const N: usize>(text: &str, mark: Mark) -> Option<[u8; N]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (first, place) = bytes.split_first()?;
    (*first == mark.0).then(|| place.try_into().ok()).flatten()
}

/// What is no cursor of this list.
pub fn bad() -> Problem {
    Problem::bad_request(
        Code::BadCursor,
        "`cursor` is not one of this list in this order. Take `nextCursor` of the answer before, or `start`.",
    )
}

/// After the row with this id.
pub fn after_id(mark: Mark, id: i64) -> String {
    write(mark, &id.to_be_bytes())
}

/// The id of the row that a list by id goes on after.
pub fn read_id(query: &Query, mark: Mark) -> Result<Option<i64>, Problem> {
    Ok(read(query, mark)?.map(i64::from_be_bytes))
}

/// A part of a list that is read by cursor.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub struct ListPart<T> {
    /// The items.
    items: Vec<T>,
    /// Items in a full part.
    per_page: i64,
    /// Sent as `cursor`, it leads to the next part; null in the last one.
    next_cursor: Option<String>,
    /// Whether there is a next part.
    has_more: bool,
    /// Items in all parts, if `total=true` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    total: Option<i64>,
}

impl<T> ListPart<T> {
    /// Of the rows that were read: one more than asked for, if there are more.
    pub fn of<R>(
        mut rows: Vec<R>,
        per_page: i64,
        total: Option<i64>,
        cursor: impl Fn(&R) -> String,
        show: impl FnMut(R) -> T,
    ) -> Self {
        let (has_more, next_cursor) = cut(&mut rows, per_page, cursor);
        Self {
            items: rows.into_iter().map(show).collect(),
            per_page,
            next_cursor,
            has_more,
            total,
        }
    }
}

/// Leaves as many rows as were asked for, and says where it goes on: also in the header `Link`.
pub fn cut<R>(
    rows: &mut Vec<R>,
    per_page: i64,
    cursor: impl Fn(&R) -> String,
) -> (bool, Option<String>) {
    let has_more = rows.len() as i64 > per_page;
    rows.truncate(per_page as usize);
    let next = rows.last().filter(|_| has_more).map(cursor);
    if let Some(next) = &next {
        trace::note_next(next);
    }
    (has_more, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_for_one_list() {
        let cursor = after_id(Mark::AUDIT, 4711);
        let query = Query::parse(&format!("cursor={cursor}"));
        assert_eq!(read_id(&query, Mark::AUDIT).ok(), Some(Some(4711)));
        assert!(read_id(&query, Mark::JOBS).is_err());
        assert_eq!(
            read_id(&Query::parse("cursor=start"), Mark::AUDIT).ok(),
            Some(None)
        );
        assert_eq!(read_id(&Query::parse(""), Mark::AUDIT).ok(), Some(None));
        for text in ["x", "AAAA", "4711", &format!("{cursor}A")] {
            let query = Query::parse(&format!("cursor={text}"));
            assert!(read_id(&query, Mark::AUDIT).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_row_too_many_says_that_there_are_more() {
        let part =
            |rows: Vec<i64>| ListPart::of(rows, 2, None, |id| after_id(Mark::AUDIT, *id), |id| id);
        let (whole, more) = (part(vec![9, 8]), part(vec![9, 8, 7]));
        assert_eq!(
            (whole.items.len(), whole.has_more, whole.next_cursor),
            (2, false, None)
        );
        assert_eq!((more.items.len(), more.has_more), (2, true));
        assert_eq!(more.next_cursor, Some(after_id(Mark::AUDIT, 8)));
    }
}
