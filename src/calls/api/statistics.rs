//! Calls, counted by campaign, client, DID, status or time.

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::Serialize;

use super::logs::{self, FILTERS, USER_FILTER};
use crate::calls::store::statistics::{GroupKey, GroupRow, Grouping};
use crate::domain::{HangupCause, Role};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Parameter, ParameterKind, Query, parameter};
use crate::http::kit::words;
use crate::http::kit::zone::{self, zone};
use crate::runtime::clock;

mod filling;

/// The operations.
pub fn operations() -> Vec<Operation> {
    let statistics = |path, id, access| {
        Operation::get(path, id, statistics)
            .access(access)
            .heavy()
            .about(
                "Of the last seven days (of `tz`, today included) unless start_date or end_date are given; of 400 days \
                 at most. `group_by=hour,client` counts by two things: each row then says in `then` what the second \
                 is.",
            )
            .query(&OPTIONS)
            .query(&FILTERS)
            .answers::<Statistics>(200, "The counts.")
            .problems(&[400])
    };
    let own = statistics(
        "/api/seller/calls/statistics",
        "getStatistics",
        Access::Seller,
    )
    .tagged("statistics", "Count your calls");
    let all = statistics(
        "/api/admin/calls/statistics",
        "getAllStatistics",
        Access::Staff,
    )
    .tagged("statistics", "Count the calls of all sellers")
    .query(&[USER_FILTER]);
    vec![
        own.also_at("/api/seller/statistics", "countCalls"),
        all.also_at("/api/admin/statistics", "countAllCalls"),
        own,
        all,
    ]
}

/// What calls are counted by: `user` for staff only.
pub const GROUPS: &[&str] = &[
    "campaign",
    "client",
    "did",
    "link",
    "status",
    "reason",
    "hangup_cause",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "weekday_hour",
    "user",
];

const OPTIONS: [Parameter; 3] = [
    parameter(
        "group_by",
        ParameterKind::Text,
        "What to count by; by day unless given. One or two, separated by a comma, of: campaign, client, did, link, status, \
         reason, hangup_cause, minute (of the last six hours, or of so long at most), hour, day, week (from Monday), month, \
         weekday_hour, and for staff user. Of times only one.",
    ),
    parameter(
        "fill",
        ParameterKind::Choice(&["true", "false"]),
        "Also the times without calls, with zeros. Unless true, they are left out.",
    ),
    parameter(
        "details",
        ParameterKind::Choice(&["true", "false"]),
        "Also how long callers waited for an answer, and how many callers there were, which takes longer.",
    ),
];

/// Longest time looked at.
const MAX_DAYS: i64 = 400;

/// Most groups in an answer; there are fewer hours in 400 days.
const MAX_GROUPS: i64 = 10_000;

/// Calls by group.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    #[schemars(with = "words::StatisticsGrouping")]
    group_by: String,
    /// The time zone of days and hours.
    tz: String,
    /// Calls begun at this time or later are counted.
    from: Moment,
    /// Calls begun before this time are counted.
    before: Moment,
    /// There are more groups than are shown: narrow the time or the filters.
    truncated: bool,
    /// Times in their order; others the one with the most calls first.
    rows: Vec<StatisticsGroup>,
}

/// Calls of one group. `calls` is the sum of `answered`, `refused`, `abandoned` and `failed`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsGroup {
    /// The id, the status, the reason or the cause; the day (`2026-01-31`), the Monday of the week, the month (`2026-01`),
    /// the beginning of the hour with its offset, or weekday and hour (`1-09` is Monday from 9); null for calls that
    /// have no such thing.
    key: Option<String>,
    /// Id of the campaign, client, DID, link or seller.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    /// Name of the campaign, client, link's client or seller, number of the DID; absent once it is deleted. The cause in
    /// words.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What the calls have in common beside that, where they are counted by two things.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<SecondKey>,
    calls: i64,
    answered: i64,
    /// Refused before they were offered to anybody.
    refused: i64,
    /// Given up by the caller.
    abandoned: i64,
    /// Busy, not answered in time, not reached; whatever is none of the others.
    failed: i64,
    billed_seconds: i64,
    /// Null where no call has a duration.
    average_duration_seconds: Option<f64>,
    /// Answered calls of all calls, 0 to 1.
    answer_rate: f64,
    /// Only with `details=true`.
    #[serde(flatten)]
    details: Option<Details>,
}

/// As `key`, `id` and `name` of the group.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SecondKey {
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// What takes longer to count.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Seconds from the begin of the call to its answer, which half of the answered callers waited at most; null where
    /// no call was answered.
    ring_seconds_median: Option<f64>,
    /// As above, of nine in ten.
    ring_seconds_p90: Option<f64>,
    /// Different numbers of callers; those without number are not counted.
    unique_callers: i64,
}

/// What is asked for, as it is shown.
struct Shown<'a> {
    grouping: Grouping<'a>,
    zone: TimeZone,
}

impl Shown<'_> {
    fn key(&self, by: &str, of: GroupKey) -> SecondKey {
        let GroupKey { id, key, at, name } = of;
        let (id, name) = match by {
            "hangup_cause" => {
                let cause = id.and_then(|code| HangupCause::new(u8::try_from(code).ok()?));
                (None, cause.map(|cause| cause.text().to_owned()))
            }
            _ => (id, name),
        };
        SecondKey {
            key: at.map(|at| self.time(by, at)).or(key),
            id,
            name,
        }
    }

    fn time(&self, by: &str, at: Timestamp) -> String {
        let form = match by {
            "minute" | "hour" => "%Y-%m-%dT%H:%M:%S%:z",
            "month" => "%Y-%m",
            _ => "%Y-%m-%d",
        };
        at.to_zoned(self.zone.clone()).strftime(form).to_string()
    }

    fn group(&self, row: GroupRow) -> StatisticsGroup {
        let first = self.key(self.grouping.by, row.first);
        let then = self.grouping.then_by.map(|by| self.key(by, row.second));
        StatisticsGroup {
            key: first.key,
            id: first.id,
            name: first.name,
            then,
            calls: row.calls,
            answered: row.answered,
            refused: row.refused,
            abandoned: row.abandoned,
            failed: row.failed,
            billed_seconds: row.billed_seconds,
            average_duration_seconds: row.average_duration_seconds,
            answer_rate: row.answered as f64 / row.calls.max(1) as f64,
            details: self.grouping.details.then(|| Details {
                ring_seconds_median: row.ring_seconds_median,
                ring_seconds_p90: row.ring_seconds_p90,
                unique_callers: row.unique_callers.unwrap_or(0),
            }),
        }
    }
}

/// One or two groups of those that this caller may count by.
fn groups<'a>(query: &'a Query, caller: &Caller) -> Result<(&'a str, Option<&'a str>), Problem> {
    let allowed = match caller.role {
        Role::User => &GROUPS[..GROUPS.len() - 1],
        Role::Admin | Role::Staff => GROUPS,
    };
    let mut asked = query.text("group_by").unwrap_or("day").split(',');
    let (first, second) = (asked.next().unwrap_or_default(), asked.next());
    let wrong = |why: String| Err(Problem::bad_request(Code::BadParameter, why));
    let known = |by: &str| allowed.contains(&by);
    if !known(first) || second.is_some_and(|by| !known(by)) || asked.next().is_some() {
        return wrong(format!(
            "`group_by` must be one or two of: {}.",
            allowed.join(", ")
        ));
    }
    if second == Some(first) {
        return wrong(format!("`group_by` names `{first}` twice."));
    }
    if filling::is_time(first) && second.is_some_and(filling::is_time) {
        return wrong(
            "`group_by` may name one time: minute, hour, day, week, month or weekday_hour.".into(),
        );
    }
    Ok((first, second))
}

async fn statistics(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Statistics>, Problem> {
    let (by, then_by) = groups(&query, &caller)?;
    let zone = zone(&query)?;
    let fill = query.flag("fill")?;
    let details = query.flag("details")?;
    if fill && !filling::is_time(by) && !then_by.is_some_and(filling::is_time) {
        return Err(Problem::bad_request(
            Code::BadParameter,
            "`fill` needs a time in `group_by`: minute, hour, day, week, month or weekday_hour.",
        ));
    }
    let (mut filter, _) = logs::filter(&api, &query, &caller).await?;
    let beyond = query.text("end_date").is_some() && filter.before.is_none();
    let now = clock::now();
    let by_minute = by == "minute" || then_by == Some("minute");
    if by_minute {
        (filter.from, filter.before) =
            minutes(filter.from, filter.before, now).ok_or_else(|| {
                Problem::bad_request(
                    Code::BadParameter,
                    "By minute from start_date to end_date it may be six hours at most: give both with their times, or none.",
                )
            })?;
    }
    let (from, before) = span(filter.from, filter.before, now, &zone)
        .filter(|_| !beyond)
        .ok_or_else(|| {
            Problem::bad_request(
                Code::BadParameter,
                format!("From start_date to end_date it may be {MAX_DAYS} days at most, and not less than none."),
            )
        })?;
    filter.from = Some(from);
    filter.before = Some(before);
    let shown = Shown {
        grouping: Grouping {
            by,
            then_by,
            zone: zone::name_of(&zone),
            details,
        },
        zone: zone.clone(),
    };
    // One more than shown tells whether there are more.
    let mut rows = api
        .store
        .call_statistics(caller.reach(), &filter, shown.grouping, MAX_GROUPS + 1)
        .await
        .map_err(|error| {
            if error.is_invalid_parameter() {
                // The database does not know the zone.
                return zone::unknown();
            }
            Problem::too_slow(error)
        })?;
    let truncated = rows.len() as i64 > MAX_GROUPS;
    rows.truncate(MAX_GROUPS as usize);
    if fill {
        let groups = (by, then_by.unwrap_or_default());
        rows = filling::fill(rows, groups, (from, before), &zone, MAX_GROUPS as usize).ok_or_else(
            || {
                Problem::bad_request(
                    Code::TooManyGroups,
                    format!("With the empty times there are more than {MAX_GROUPS} groups. Narrow the time or the filters."),
                )
            },
        )?;
    }
    Ok(Json(Statistics {
        group_by: match then_by {
            Some(then_by) => format!("{by},{then_by}"),
            None => by.to_owned(),
        },
        tz: zone::name_of(&zone).to_owned(),
        from: Moment(from),
        before: Moment(before),
        truncated,
        rows: rows.into_iter().map(|row| shown.group(row)).collect(),
    }))
}

/// Longest time looked at by minute.
const MOST_BY_MINUTE: SignedDuration = SignedDuration::from_hours(6);

/// The time looked at by minute: six hours up to now, or to the bound that is given. `None` if it is too long.
fn minutes(
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    now: Timestamp,
) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let before = match (from, before) {
        (_, Some(before)) => before,
        (Some(from), None) => now.max(from),
        (None, None) => now,
    };
    let from = from.map_or_else(|| before.checked_sub(MOST_BY_MINUTE).ok(), Some)?;
    // An end that is meant inclusively lies a moment after it.
    let length = before.duration_since(from);
    (length <= MOST_BY_MINUTE + SignedDuration::from_secs(1)).then_some((Some(from), Some(before)))
}

/// The time looked at: seven days up to now, or to the bound that is given. `None` if it is too long.
fn span(
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    now: Timestamp,
    zone: &TimeZone,
) -> Option<(Timestamp, Timestamp)> {
    let day_of = |at: Timestamp, days: i64| {
        let day = at.to_zoned(zone.clone()).date().checked_add(days.days());
        let midnight = day.ok()?.to_zoned(zone.clone()).ok()?;
        Some(midnight.timestamp())
    };
    let before = match before {
        Some(before) => before,
        None => day_of(now, 1)?.max(from.unwrap_or(Timestamp::MIN)),
    };
    let from = if let Some(from) = from {
        from
    } else {
        let back = before.to_zoned(zone.clone()).checked_sub(7.days());
        back.ok()?.timestamp()
    };
    // An hour more, for clocks that went back meanwhile.
    let length = before.duration_since(from);
    (length >= SignedDuration::ZERO && length <= SignedDuration::from_hours(24 * MAX_DAYS + 1))
        .then_some((from, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: Option<&str>, before: Option<&str>) -> Option<(String, String)> {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (from, before) = span(
            from.map(time),
            before.map(time),
            time("2026-03-10T15:30:00Z"),
            &TimeZone::UTC,
        )?;
        Some((from.to_string(), before.to_string()))
    }

    #[test]
    fn by_minute_six_hours_unless_given_and_at_most() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = time("2026-03-10T15:30:00Z");
        let asked = |from: Option<&str>, before: Option<&str>| {
            let (from, before) = minutes(from.map(time), before.map(time), now)?;
            Some((from?.to_string(), before?.to_string()))
        };
        let some = |from: &str, before: &str| Some((from.to_owned(), before.to_owned()));
        let last = some("2026-03-10T09:30:00Z", "2026-03-10T15:30:00Z");
        assert_eq!(asked(None, None), last);
        assert_eq!(asked(Some("2026-03-10T09:30:00Z"), None), last);
        assert_eq!(asked(Some("2026-03-10T09:29:00Z"), None), None);
        assert_eq!(
            asked(None, Some("2026-03-01T00:00:00Z")),
            some("2026-02-28T18:00:00Z", "2026-03-01T00:00:00Z")
        );
    }

    #[test]
    fn seven_days_unless_given_and_400_at_most() {
        let some = |from: &str, before: &str| Some((from.to_owned(), before.to_owned()));
        assert_eq!(
            asked(None, None),
            some("2026-03-04T00:00:00Z", "2026-03-11T00:00:00Z")
        );
        assert_eq!(
            asked(Some("2026-03-01T00:00:00Z"), None),
            some("2026-03-01T00:00:00Z", "2026-03-11T00:00:00Z")
        );
        assert_eq!(
            asked(None, Some("2026-02-02T00:00:00Z")),
            some("2026-01-26T00:00:00Z", "2026-02-02T00:00:00Z")
        );
        assert_eq!(asked(Some("2024-01-01T00:00:00Z"), None), None);
        assert_eq!(
            asked(Some("2026-03-02T00:00:00Z"), Some("2026-03-01T00:00:00Z")),
            None
        );
    }
}
