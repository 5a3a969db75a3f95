//! Places in lists, and what a part of a list answers: the one way that all lists go on.
//!
//! A cursor says after which row the next part begins. Clients keep it as it is: what it holds is ours to change.
//! Each list has a mark of its own, so that no list takes another's cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::code::Code;
use super::problem::Problem;
use super::query::{Parameter, ParameterKind, Query, parameter};
use super::trace;
use crate::db::keyset::Keyset;

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

/// The order asked for of a list by cursor, and the place it goes on from.
///
/// The first of its orders is the list's own, by id alone: its cursors hold nothing else. In another order many rows may
/// have the same key, so a place is a key and an id, and the key is never null: statements say what stands for it.
#[derive(Debug, Clone, Copy)]
pub struct Ordered {
    mark: Mark,
    /// As the query parameter `sort`, and the statement, write it.
    pub sort: &'static str,
    nth: u8,
    /// The row after which it goes on; none: from the beginning.
    pub after: Option<Place>,
}

/// A row's place in an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// What it is ordered by: a number, or microseconds since 1970. 0 where that is the id.
    pub key: i64,
    /// Its id.
    pub id: i64,
}

impl Place {
    /// In an order by id alone, or with no other key.
    pub fn of_id(id: i64) -> Self {
        Self { key: 0, id }
    }

    /// In an order by time.
    pub fn of_time(at: Timestamp, id: i64) -> Self {
        Self {
            key: at.as_microsecond(),
            id,
        }
    }
}

impl Ordered {
    /// Reads `sort`, one of these orders, and `cursor`.
    pub fn read(
        query: &Query,
        mark: Mark,
        sorts: &'static [&'static str],
    ) -> Result<Self, Problem> {
        let asked = query.choice("sort", sorts)?;
        let nth = asked.and_then(|asked| sorts.iter().position(|sort| *sort == asked));
        let nth = nth.unwrap_or(0);
        let mut ordered = Self {
            mark,
            sort: sorts[nth],
            nth: nth as u8,
            after: None,
        };
        ordered.after = if nth == 0 {
            read_id(query, mark)?.map(|id| Place { key: 0, id })
        } else {
            read::<17>(query, mark)?
                .map(|place| ordered.place(place).ok_or_else(bad))
                .transpose()?
        };
        Ok(ordered)
    }

    fn place(&self, bytes: [u8; 17]) -> Option<Place> {
        let (key, id) = bytes[1..].split_at(8);
        (bytes[0] == self.nth).then_some(Place {
            key: i64::from_be_bytes(key.try_into().ok()?),
            id: i64::from_be_bytes(id.try_into().ok()?),
        })
    }

    /// What it is ordered by, whichever way round.
    pub fn field(&self) -> &'static str {
        self.sort.trim_start_matches('-')
    }

    /// For a statement: of these fields the key is a time, of others a number.
    pub fn keyset(&self, times: &[&str]) -> Result<Keyset, Problem> {
        let mut keyset = Keyset::whole(self.sort);
        let Some(place) = self.after else {
            return Ok(keyset);
        };
        keyset.id = Some(place.id);
        if times.contains(&self.field()) {
            // Cursors are the client's: what is no time is none of ours.
            let time = Timestamp::from_microsecond(place.key).map_err(|_| bad())?;
            keyset.time = Some(time);
        } else {
            keyset.number = Some(place.key);
        }
        Ok(keyset)
    }

    /// Leads on after a row.
    pub fn next(&self, place: Place) -> String {
        if self.nth == 0 {
            return after_id(self.mark, place.id);
        }
        let mut bytes = vec![self.nth];
        bytes.extend(place.key.to_be_bytes());
        bytes.extend(place.id.to_be_bytes());
        write(self.mark, &bytes)
    }
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
    fn a_cursor_is_for_one_order() {
        const SORTS: &[&str] = &["-id", "id", "priority"];
        let read = |query: &str| Ordered::read(&Query::parse(query), Mark::JOBS, SORTS);
        let place = Place { key: -7, id: 4711 };
        let first = read("").expect("the list's own order");
        let by_priority = read("sort=priority").expect("another order");
        assert_eq!((first.sort, first.after), ("-id", None));
        assert_eq!(first.next(place), after_id(Mark::JOBS, 4711));
        let next = by_priority.next(place);
        let again = read(&format!("sort=priority&cursor={next}")).expect("its cursor");
        assert_eq!((again.sort, again.after), ("priority", Some(place)));
        let start = read("sort=priority&cursor=start").expect("the beginning");
        assert_eq!(start.after, None);
        for bad in [
            format!("cursor={next}"),
            format!("sort=id&cursor={next}"),
            format!("sort=priority&cursor={}", first.next(place)),
            "sort=name".to_owned(),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
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
