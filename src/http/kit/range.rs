//! Parts of what is read, and whether the reader has it already (RFC 9110, 13.1 and 14). Pure.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, Method, header};

/// What of a thing to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes of it.
    Range(Range<u64>),
    /// Nothing: the range asked for begins after the end.
    Beyond,
    /// Nothing: the reader has it.
    NotModified,
}

impl Part {
    /// The part of a thing of so many bytes, of this version (a strong tag with its quotes), that a request is for.
    pub fn of(method: &Method, headers: &HeaderMap, tag: &str, bytes: u64) -> Self {
        let matches = |tags: &str| {
            tags.split(',').map(str::trim).any(|given| {
                // Weak tags will do here.
                given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag
            })
        };
        let mut known = headers.get_all(header::IF_NONE_MATCH).iter();
        if known.any(|value| value.to_str().is_ok_and(matches)) {
            return Self::NotModified;
        }
        let Some(range) = single(headers, &header::RANGE).filter(|_| method == Method::GET) else {
            return Self::Whole;
        };
        // A date names no version well enough, and a weak tag does not say that the bytes are the same.
        if headers.contains_key(header::IF_RANGE) && single(headers, &header::IF_RANGE) != Some(tag)
        {
            return Self::Whole;
        }
        read(range, bytes).unwrap_or(Self::Whole)
    }
}

/// A header that comes once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// A single range of bytes. `None` for what is none, and for several: those are answered with the whole.
fn read(range: &str, bytes: u64) -> Option<Part> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More than can be counted is more than there is.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = if first.is_empty() {
        let length = number(last)?;
        bytes.saturating_sub(length)..bytes
    } else {
        let first = number(first)?;
        let end = match last {
            "" => bytes,
            last => {
                let last = number(last)?;
                if last < first {
                    return None;
                }
                last.saturating_add(1).min(bytes)
            }
        };
        first..end
    };
    Some(if range.is_empty() {
        Part::Beyond
    } else {
        Part::Range(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn part(headers: &[(HeaderName, &str)]) -> Part {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().expect("a value"));
        }
        Part::of(&Method::GET, &map, TAG, 100)
    }

    #[test]
    fn single_ranges_are_taken() {
        for (range, expected) in [
            ("bytes=0-9", 0..10),
            ("bytes=90-", 90..100),
            ("bytes=99-99", 99..100),
            ("bytes=-1", 99..100),
            ("bytes=-1000", 0..100),
            ("BYTES = 5-1000", 5..100),
            ("bytes=0-99999999999999999999999", 0..100),
        ] {
            assert_eq!(
                part(&[(header::RANGE, range)]),
                Part::Range(expected),
                "{range}"
            );
        }
    }

    #[test]
    fn what_is_no_single_range_means_the_whole() {
        for range in [
            "bytes=5-4",
            "bytes=0-1,3-4",
            "bytes=a-b",
            "bytes=-",
            "bytes",
            "items=0-1",
            "bytes=+1-2",
            "bytes=1-2-3",
            "",
        ] {
            assert_eq!(part(&[(header::RANGE, range)]), Part::Whole, "{range}");
        }
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=0-1")];
        assert_eq!(part(&twice), Part::Whole);
    }

    #[test]
    fn what_begins_after_the_end_is_beyond() {
        for range in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(part(&[(header::RANGE, range)]), Part::Beyond, "{range}");
        }
    }

    #[test]
    fn a_range_is_of_the_version_that_was_begun() {
        let range = (header::RANGE, "bytes=0-9");
        let of = |tag| part(&[range.clone(), (header::IF_RANGE, tag)]);
        assert_eq!(of(TAG), Part::Range(0..10));
        for other in ["\"abd\"", "W/\"abc\"", "Sat, 21 Nov 2026 08:00:00 GMT", "*"] {
            assert_eq!(of(other), Part::Whole, "{other}");
        }
    }

    #[test]
    fn what_the_reader_has_is_not_sent() {
        for (tags, has) in [
            (TAG, true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("\"x\"", false),
        ] {
            let sent = part(&[(header::IF_NONE_MATCH, tags)]) != Part::NotModified;
            assert_eq!(!sent, has, "{tags}");
        }
    }
}
