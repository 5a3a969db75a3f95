//! Calls, counted by campaign, client, DID, status or time.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp, Unit};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Access, Caller};
use super::code::Code;
use super::logs::{self, FILTERS, USER_FILTER};
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Parameter, ParameterKind, Query, parameter};
use super::{Api, Problem, words};
use crate::clock;
use crate::store::statistics::GroupRow;

/// The operations.
pub fn operations() -> Vec<Operation> {
    let statistics = |path, id, access| {
        Operation::get(path, id, statistics)
            .access(access)
            .heavy()
            .about(
                "Of the last seven days (UTC, today included) unless start_date or end_date are given; of 400 days \
                 at most.",
            )
            .query(&[GROUP_BY])
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

/// What calls can be counted by.
pub const GROUPS: &[&str] = &["campaign", "client", "did", "hour", "day", "status"];

const GROUP_BY: Parameter = parameter(
    "group_by",
    ParameterKind::Choice(GROUPS),
    "What to count by; by day unless given. Hours and days are UTC and those without calls are left out.",
);

/// Longest time looked at.
const MAX_DAYS: i64 = 400;

/// Most groups in an answer; there are fewer hours in 400 days.
const MAX_GROUPS: i64 = 10_000;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Calls by group.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    #[schemars(with = "words::StatisticsGrouping")]
    group_by: String,
    /// Calls begun at this time or later are counted.
    from: Moment,
    /// Calls begun before this time are counted.
    before: Moment,
    /// Times in their order; others the one with the most calls first.
    rows: Vec<StatisticsGroup>,
}

/// Calls of one group. `calls` is the sum of `answered`, `refused`, `abandoned` and `failed`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatisticsGroup {
    /// The id, the status, the day or the beginning of the hour; null for calls that have no such thing.
    key: Option<String>,
    /// Id of the campaign, client or DID.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    /// Name of the campaign or client, number of the DID; absent once it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
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
}

impl StatisticsGroup {
    fn of(row: GroupRow) -> Self {
        Self {
            key: row.key,
            id: row.id,
            name: row.name,
            calls: row.calls,
            answered: row.answered,
            refused: row.refused,
            abandoned: row.abandoned,
            failed: row.failed,
            billed_seconds: row.billed_seconds,
            average_duration_seconds: row.average_duration_seconds,
            answer_rate: row.answered as f64 / row.calls.max(1) as f64,
        }
    }
}

async fn statistics(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Statistics>, Problem> {
    let group_by = query.choice("group_by", GROUPS)?.unwrap_or("day");
    let (mut filter, _) = logs::filter(&api, &query, &caller).await?;
    let beyond = query.text("end_date").is_some() && filter.before.is_none();
    let (from, before) = span(filter.from, filter.before, clock::now())
        .filter(|_| !beyond)
        .ok_or_else(|| {
            Problem::bad_request(
                Code::BadParameter,
                format!("From start_date to end_date it may be {MAX_DAYS} days at most, and not less than none."),
            )
        })?;
    filter.from = Some(from);
    filter.before = Some(before);
    let rows = api
        .store
        .call_statistics(caller.reach(), &filter, group_by, MAX_GROUPS)
        .await
        .map_err(logs::too_slow)?;
    Ok(Json(Statistics {
        group_by: group_by.to_owned(),
        from: Moment(from),
        before: Moment(before),
        rows: rows.into_iter().map(StatisticsGroup::of).collect(),
    }))
}

/// The time looked at: seven days up to now, or to the bound that is given. `None` if it is too long.
fn span(
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let tomorrow = || {
        let midnight = now.to_zoned(jiff::tz::TimeZone::UTC).round(
            jiff::ZonedRound::new()
                .smallest(Unit::Day)
                .mode(jiff::RoundMode::Floor),
        );
        midnight.ok()?.timestamp().checked_add(DAY).ok()
    };
    let before = match before {
        Some(before) => before,
        None => tomorrow()?.max(from.unwrap_or(Timestamp::MIN)),
    };
    let from = match from {
        Some(from) => from,
        None => before.checked_sub(DAY * 7).ok()?,
    };
    let length = before.duration_since(from);
    (length >= SignedDuration::ZERO && length <= SignedDuration::from_hours(24 * MAX_DAYS))
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
        )?;
        Some((from.to_string(), before.to_string()))
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
