//! Times without calls: rows of zeros between those that were counted. Pure.

use std::collections::HashMap;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Unit, Zoned, ZonedRound};

use crate::calls::store::statistics::{GroupKey, GroupRow};

/// Whether calls are counted by time.
pub(crate) fn is_time(by: &str) -> bool {
    matches!(
        by,
        "minute" | "hour" | "day" | "week" | "month" | "weekday_hour"
    )
}

/// Every time from `from` to `before` by this unit, as the database names it.
fn times(by: &str, (from, before): (Timestamp, Timestamp), zone: &TimeZone) -> Vec<GroupKey> {
    if by == "weekday_hour" {
        let hours = (1..=7).flat_map(|day| (0..24).map(move |hour| (day, hour)));
        return hours
            .map(|(day, hour)| GroupKey {
                key: Some(format!("{day}-{hour:02}")),
                ..GroupKey::default()
            })
            .collect();
    }
    let mut times = Vec::new();
    let mut next = first(by, &from.to_zoned(zone.clone()));
    while let Some(at) = next.filter(|at| at.timestamp() < before) {
        times.push(GroupKey {
            at: Some(at.timestamp()),
            ..GroupKey::default()
        });
        let span = match by {
            "minute" => 1.minute(),
            // Of hours that a clock shows twice, each counts.
            "hour" => 1.hour(),
            "day" => 1.day(),
            "week" => 1.week(),
            _ => 1.month(),
        };
        let after = at.checked_add(span).ok();
        // Where a day begins late, as summer time begins at midnight, the next begins at midnight again.
        next = match by {
            "minute" | "hour" => after,
            _ => after.and_then(|after| after.start_of_day().ok()),
        };
    }
    times
}

/// The beginning of the minute, hour, day, week or month of a time.
fn first(by: &str, at: &Zoned) -> Option<Zoned> {
    if matches!(by, "minute" | "hour") {
        let unit = if by == "hour" {
            Unit::Hour
        } else {
            Unit::Minute
        };
        let floor = ZonedRound::new()
            .smallest(unit)
            .mode(jiff::RoundMode::Floor);
        return at.round(floor).ok();
    }
    let date = at.date();
    let date = match by {
        "week" => {
            let days = date.weekday().since(Weekday::Monday);
            date.checked_sub(i64::from(days).days()).ok()?
        }
        "month" => date.first_of_month(),
        _ => date,
    };
    date.to_zoned(at.time_zone().clone()).ok()
}

/// What makes two groups one.
type Identity = (Option<i32>, Option<String>, Option<Timestamp>);

fn identity(key: &GroupKey) -> Identity {
    (key.id, key.key.clone(), key.at)
}

/// The rows with those of all times, in the order of the rows; `None` if they were more than `at_most`. Counted by two
/// things, each of the other thing gets all times.
pub(crate) fn fill(
    rows: Vec<GroupRow>,
    (by, then_by): (&str, &str),
    span: (Timestamp, Timestamp),
    zone: &TimeZone,
    at_most: usize,
) -> Option<Vec<GroupRow>> {
    let time_first = is_time(by);
    let times = times(if time_first { by } else { then_by }, span, zone);
    let split = |row: &GroupRow| {
        if time_first {
            (row.first.clone(), row.second.clone())
        } else {
            (row.second.clone(), row.first.clone())
        }
    };
    // The others, the busiest first.
    let mut others: Vec<(GroupKey, i64)> = Vec::new();
    let mut places: HashMap<Identity, usize> = HashMap::new();
    let mut counted: HashMap<(Identity, Identity), GroupRow> = HashMap::new();
    for row in rows {
        let (time, other) = split(&row);
        let place = *places.entry(identity(&other)).or_insert_with(|| {
            others.push((other.clone(), 0));
            others.len() - 1
        });
        others[place].1 += row.calls;
        counted.insert((identity(&time), identity(&other)), row);
    }
    if others.is_empty() && then_by.is_empty() {
        others.push((GroupKey::default(), 0));
    }
    others.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    if times.len().saturating_mul(others.len()) > at_most {
        return None;
    }
    let mut take = |time: &GroupKey, other: &GroupKey| {
        let row = counted.remove(&(identity(time), identity(other)));
        row.unwrap_or_else(|| {
            let (first, second) = if time_first {
                (time.clone(), other.clone())
            } else {
                (other.clone(), time.clone())
            };
            GroupRow {
                first,
                second,
                ..GroupRow::default()
            }
        })
    };
    let mut filled = Vec::with_capacity(times.len() * others.len());
    if time_first {
        for time in &times {
            filled.extend(others.iter().map(|(other, _)| take(time, other)));
        }
    } else {
        for (other, _) in &others {
            filled.extend(times.iter().map(|time| take(time, other)));
        }
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(by: &str, from: &str, before: &str, zone: &str) -> Vec<String> {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let zone = TimeZone::get(zone).expect("a zone");
        times(by, (time(from), time(before)), &zone)
            .into_iter()
            .map(|key| key.at.expect("a time").to_string())
            .collect()
    }

    #[test]
    fn times_are_those_of_the_zone_whatever_its_clock_does() {
        // The clock shows 2:00 twice.
        let hours = listed(
            "hour",
            "2026-10-24T23:30:00Z",
            "2026-10-25T03:00:00Z",
            "Europe/Berlin",
        );
        assert_eq!(
            hours,
            [
                "2026-10-24T23:00:00Z",
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
        let days = listed(
            "day",
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z",
            "Europe/Berlin",
        );
        assert_eq!(
            days,
            [
                "2026-03-27T23:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z"
            ]
        );
        let days = listed(
            "hour",
            "2026-01-01T00:10:00Z",
            "2026-01-01T01:31:00Z",
            "Asia/Kolkata",
        );
        assert_eq!(
            days,
            [
                "2025-12-31T23:30:00Z",
                "2026-01-01T00:30:00Z",
                "2026-01-01T01:30:00Z"
            ]
        );
        let weeks = listed(
            "week",
            "2026-03-11T00:00:00Z",
            "2026-03-17T00:00:00Z",
            "UTC",
        );
        assert_eq!(weeks, ["2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"]);
        let months = listed(
            "month",
            "2026-01-31T00:00:00Z",
            "2026-03-01T00:00:01Z",
            "UTC",
        );
        assert_eq!(
            months,
            [
                "2026-01-01T00:00:00Z",
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z"
            ]
        );
    }

    #[test]
    fn each_of_the_other_things_gets_all_times() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let span = (time("2026-01-01T00:00:00Z"), time("2026-01-03T00:00:00Z"));
        let row = |day: &str, id: i32, calls: i64| GroupRow {
            first: GroupKey {
                at: Some(time(day)),
                ..GroupKey::default()
            },
            second: GroupKey {
                id: Some(id),
                ..GroupKey::default()
            },
            calls,
            ..GroupRow::default()
        };
        let rows = vec![
            row("2026-01-01T00:00:00Z", 7, 1),
            row("2026-01-02T00:00:00Z", 8, 5),
        ];
        let filled = fill(rows.clone(), ("day", "client"), span, &TimeZone::UTC, 4);
        let filled: Vec<_> = filled
            .expect("fits")
            .iter()
            .map(|row| (row.second.id, row.calls))
            .collect();
        assert_eq!(
            filled,
            [(Some(8), 0), (Some(7), 1), (Some(8), 5), (Some(7), 0)]
        );
        assert!(fill(rows, ("day", "client"), span, &TimeZone::UTC, 3).is_none());
        let empty = fill(Vec::new(), ("day", ""), span, &TimeZone::UTC, 9).expect("fits");
        assert_eq!(empty.len(), 2);
    }
}
