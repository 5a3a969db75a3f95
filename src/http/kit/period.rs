//! Days and moments that a query names: between which the calls or lines lie that are asked for.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::code::Code;
use super::problem::Problem;
use super::query::Query;
use super::zone::zone;

/// Not a day or a time.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// Which end of a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The first moment that counts.
    Start,
    /// The first that does not.
    End,
}

/// The first moment that counts, or the first that does not: bounds are inclusive, days are those of `tz`.
pub fn bound(query: &Query, name: &str, bound: Bound) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    read_bound(text, bound, &zone(query)?).map_err(|Malformed| {
        Problem::bad_request(
            Code::BadParameter,
            format!(
                "`{name}` must be a day as 2026-01-31, or a time with offset as 2026-01-31T12:00:00Z."
            ),
        )
    })
}

/// `None` where it is beyond all calls.
fn read_bound(text: &str, bound: Bound, zone: &TimeZone) -> Result<Option<Timestamp>, Malformed> {
    if text.len() == 10 {
        let day = read_day(text).ok_or(Malformed)?;
        // Where summer time begins at midnight, the first moment after it.
        let midnight = |day: Date| day.to_zoned(zone.clone()).ok().map(|z| z.timestamp());
        return Ok(match bound {
            Bound::Start => Some(midnight(day).unwrap_or(Timestamp::MAX)),
            Bound::End => day.checked_add(1.day()).ok().and_then(midnight),
        });
    }
    if !(17..=40).contains(&text.len()) {
        return Err(Malformed);
    }
    // A plus that was not percent-encoded arrives as a blank.
    let mended = match text.rsplit_once(' ') {
        Some((time, offset)) if time.len() > 10 && offset.contains(':') => {
            format!("{time}+{offset}")
        }
        _ => text.to_owned(),
    };
    let time: Timestamp = mended.parse().map_err(|_| Malformed)?;
    Ok(match bound {
        Bound::Start => Some(time),
        Bound::End => time.checked_add(SignedDuration::from_micros(1)).ok(),
    })
}

/// `YYYY-MM-DD` and nothing else.
fn read_day(text: &str) -> Option<Date> {
    let mut parts = text.split('-').map(|part| {
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<i16>().ok()).flatten()
    });
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let right = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    (right && parts.next().is_none())
        .then(|| Date::new(year, month as i8, day as i8).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, bound: Bound) -> Result<Option<String>, Malformed> {
        read_bound(text, bound, &TimeZone::UTC).map(|time| time.map(|time| time.to_string()))
    }

    #[test]
    fn days_and_times_are_inclusive() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(
            read("2026-01-31", Bound::Start),
            some("2026-01-31T00:00:00Z")
        );
        assert_eq!(read("2026-01-31", Bound::End), some("2026-02-01T00:00:00Z"));
        assert_eq!(
            read("2026-01-31T12:00:00+02:00", Bound::Start),
            some("2026-01-31T10:00:00Z")
        );
        assert_eq!(
            read("2026-01-31T12:00:00 02:00", Bound::Start),
            some("2026-01-31T10:00:00Z")
        );
        assert_eq!(
            read("2026-01-31T12:00:00Z", Bound::End),
            some("2026-01-31T12:00:00.000001Z")
        );
        assert_eq!(read("9999-12-31", Bound::End), Ok(None));
        assert!(read("9999-12-31", Bound::Start).is_ok_and(|time| time.is_some()));
        assert!(read("0001-01-01", Bound::Start).is_ok_and(|time| time.is_some()));
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let read = |day: &str, zone: &str| {
            let zone = TimeZone::get(zone).expect("a zone");
            let bounds = [Bound::Start, Bound::End].map(|bound| {
                let time = read_bound(day, bound, &zone).ok().flatten();
                time.expect("a time").to_string()
            });
            bounds.join(" ")
        };
        assert_eq!(
            read("2026-01-31", "Asia/Kolkata"),
            "2026-01-30T18:30:00Z 2026-01-31T18:30:00Z"
        );
        // 23 hours, 25 hours.
        assert_eq!(
            read("2026-03-29", "Europe/Berlin"),
            "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"
        );
        assert_eq!(
            read("2026-10-25", "Europe/Berlin"),
            "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z"
        );
    }

    #[test]
    fn what_is_no_date_is_malformed() {
        for text in [
            "x",
            "2026-02-30",
            "2026-1-31",
            "31.01.2026",
            "2026-01-3\u{0}",
            "٢٠٢٦-٠",
            "2026/01/31",
            "2026-13-01",
            "2026-01-31T12:00:00",
            "20260131",
            "2026-01-31 ",
        ] {
            assert_eq!(read(text, Bound::Start), Err(Malformed), "{text:?}");
            assert_eq!(read(text, Bound::End), Err(Malformed), "{text:?}");
        }
    }
}
