//! The call log: lists by page and by cursor, and one call with its attempts.
//!
//! Also reads the filters that lists, [exports](super::export) and [statistics](super::statistics) have in common.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Access, Caller};
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Ids, Page, Parameter, ParameterKind, Query, parameter};
use super::recordings::RecordingOfCall;
use super::transcription_jobs::TranscriptionOfCall;
use super::transcripts::TranscriptMatch;
use super::zone::{TZ, zone};
use super::{Api, Problem};
use crate::domain::Role;
use crate::store;
use crate::store::logs::{AttemptRow, CallFilter, CallRow, Order, Position};
use crate::store::transcribed::Spoken;

/// The operations on the call log.
pub fn operations() -> Vec<Operation> {
    let list = |path, id, access| {
        Operation::get(path, id, list)
            .access(access)
            .about(
                "Newest first, unless sorted otherwise. `page` counts all calls that the filters leave, which \
                 takes long for many. `nextCursor`, sent as `cursor` with the same filters, goes on after \
                 the last call of this answer without counting, as fast on the last page as on the first; \
                 `cursor=start` begins so. With a cursor `page`, `total` and `pages` are null. With `transcript` each \
                 call has `transcriptMatches`.",
            )
            .query(&PAGE_PARAMETERS)
            .query(&FILTERS)
            .answers::<LoggedPage>(200, "The calls.")
            .problems(&[400])
    };
    let read = |path, id, access| {
        Operation::get(path, id, read)
            .access(access)
            .answers::<LoggedCallDetails>(200, "The call.")
    };
    vec![
        list("/api/seller/logs", "listCalls", Access::Seller).tagged("logs", "List your calls"),
        read("/api/seller/logs/{id}", "getCall", Access::Seller)
            .tagged("logs", "Read a call and whom it was offered to"),
        list("/api/admin/logs", "listAllCalls", Access::Staff)
            .tagged("logs", "List the calls of all sellers")
            .query(&[USER_FILTER]),
        read("/api/admin/logs/{id}", "getAnyCall", Access::Staff)
            .tagged("logs", "Read any call and whom it was offered to"),
    ]
}

const PAGE_PARAMETERS: [Parameter; 4] = [
    parameter(
        "page",
        ParameterKind::Integer,
        "Number of the page, from 1. Anything that is no number counts as 1.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Calls on a page: 50 unless given, at most 200.",
    ),
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the answer before, or `start`.",
    ),
    SORT,
];

/// Most matches shown of a call.
const MOST_MATCHES: usize = 3;

const SORTS: &[&str] = &[
    "-timestamp_start",
    "timestamp_start",
    "-duration",
    "duration",
];

/// The order of lists and exports.
pub const SORT: Parameter = parameter(
    "sort",
    ParameterKind::Choice(SORTS),
    "By start or by duration, with `-` from the latest or longest. Newest first unless given.",
);

/// Only for those who see all sellers.
pub const USER_FILTER: Parameter = parameter(
    "user_id",
    ParameterKind::Integer,
    "Only calls of this seller.",
);

/// What leaves some calls out.
pub const FILTERS: [Parameter; 14] = [
    TZ,
    parameter(
        "start_date",
        ParameterKind::Moment,
        "Only calls begun on this day (`YYYY-MM-DD`) or later; or at this time (RFC 3339, with offset) or later.",
    ),
    parameter(
        "end_date",
        ParameterKind::Moment,
        "Only calls begun on this day (`YYYY-MM-DD`) or earlier; or at this time (RFC 3339, with offset) or earlier.",
    ),
    parameter(
        "campaign_id",
        ParameterKind::Integer,
        "Only calls of this campaign.",
    ),
    parameter("did_id", ParameterKind::Integer, "Only calls on this DID."),
    parameter(
        "client_id",
        ParameterKind::Integer,
        "Only calls of this client.",
    ),
    parameter(
        "call_status",
        ParameterKind::Text,
        "Only calls of this status, written exactly; several are separated by commas.",
    ),
    parameter(
        "refusal_reason",
        ParameterKind::Text,
        "Only calls refused for this reason.",
    ),
    parameter(
        "did",
        ParameterKind::Text,
        "Only calls on this dialled number.",
    ),
    parameter(
        "caller",
        ParameterKind::Text,
        "Only calls from this number; with `*` at its end, from numbers that begin so.",
    ),
    parameter(
        "min_duration",
        ParameterKind::Integer,
        "Only calls of at least so many seconds.",
    ),
    parameter(
        "max_duration",
        ParameterKind::Integer,
        "Only calls of at most so many seconds.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only calls with this text in their numbers or in the name of caller, campaign or client. Of numbers only digits count.",
    ),
    parameter(
        "transcript",
        ParameterKind::Text,
        "Only calls in which these words were spoken, in any form: `price` finds `prices`. Several must all be there; \
         `\"two words\"` stand together, `or` and `-` (not) are understood. An API key needs the scope \
         `transcripts:read` for it, or `read`.",
    ),
];

/// A campaign of a call.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CampaignOfCall {
    id: i32,
    name: String,
}

/// A DID of a call.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DidOfCall {
    id: i32,
    number: String,
}

/// A client of a call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientOfCall {
    id: i32,
    name: String,
    client_identifier: String,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HangupBy {
    /// The caller's side.
    Caller,
    /// The target's side.
    Target,
    /// This side: a limit, an operator, or the dialplan once it had nobody left to try.
    System,
    /// It was not seen, or the call goes on.
    Unknown,
}

impl HangupBy {
    fn of(stored: Option<&str>) -> Self {
        match stored {
            Some("caller") => Self::Caller,
            Some("target") => Self::Target,
            Some("system") => Self::System,
            _ => Self::Unknown,
        }
    }
}

/// A call of the log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedCall {
    id: i64,
    /// Null once it is deleted.
    campaign: Option<CampaignOfCall>,
    /// Null once it is deleted.
    did: Option<DidOfCall>,
    /// Whom it was offered to last; null where nobody was, and once it is deleted.
    client: Option<ClientOfCall>,
    incoming_did_number: String,
    caller_id_num: Option<String>,
    caller_id_name: Option<String>,
    timestamp_start: Moment,
    timestamp_answered: Option<Moment>,
    timestamp_end: Option<Moment>,
    duration_seconds: Option<i32>,
    billsec_seconds: Option<i32>,
    call_status: String,
    hangup_cause_code: Option<i32>,
    hangup_cause_text: Option<String>,
    hangup_by: HangupBy,
    asterisk_uniqueid: Option<String>,
    asterisk_linkedid: Option<String>,
    refusal_reason: Option<String>,
    /// How many targets it was offered to.
    attempts: i32,
    created_at: Moment,
    /// Its seller: for administrators and staff only.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i32>,
    /// In answers to `transcript`: the first parts, three at most, with words that were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_matches: Option<Vec<TranscriptMatch>>,
}

/// A page of the log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedPage {
    items: Vec<LoggedCall>,
    /// Number of this page, from 1; null with a cursor.
    page: Option<i64>,
    /// Calls on a full page.
    per_page: i64,
    /// Calls on all pages; null with a cursor.
    total: Option<i64>,
    /// Number of pages; null with a cursor.
    pages: Option<i64>,
    /// Goes on after this page; null on the last one.
    next_cursor: Option<String>,
}

/// A call with all that was tried.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedCallDetails {
    #[serde(flatten)]
    call: LoggedCall,
    /// Whom it was offered to, in this order.
    offers: Vec<OfferOfCall>,
    /// Its recording; null if it was not recorded.
    recording: Option<RecordingOfCall>,
    /// How far its transcription is; null if it is not transcribed.
    transcription: Option<TranscriptionOfCall>,
}

/// A target that a call was offered to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferOfCall {
    /// From 1.
    attempt: i32,
    client_id: i32,
    /// PJSIP endpoint.
    endpoint: String,
    offered_at: Moment,
    answered_at: Option<Moment>,
    ended_at: Option<Moment>,
    /// `answered`, `failed`, `abandoned`, `not_dialled` or `lost`; null while it lasts.
    outcome: Option<String>,
    dial_status: Option<String>,
    hangup_cause_code: Option<i32>,
}

impl LoggedCall {
    fn of(row: CallRow, role: Role) -> Self {
        Self {
            id: row.id,
            campaign: row.campaign.map(|(id, name)| CampaignOfCall { id, name }),
            did: row.did.map(|(id, number)| DidOfCall { id, number }),
            client: row
                .client
                .map(|(id, name, client_identifier)| ClientOfCall {
                    id,
                    name,
                    client_identifier,
                }),
            incoming_did_number: row.incoming_did_number,
            caller_id_num: row.caller_id_num,
            caller_id_name: row.caller_id_name,
            timestamp_start: Moment(row.timestamp_start),
            timestamp_answered: row.timestamp_answered.map(Moment),
            timestamp_end: row.timestamp_end.map(Moment),
            duration_seconds: row.duration_seconds,
            billsec_seconds: row.billsec_seconds,
            call_status: row.call_status,
            hangup_cause_code: row.hangup_cause_code,
            hangup_cause_text: row.hangup_cause_text,
            hangup_by: HangupBy::of(row.hangup_by.as_deref()),
            asterisk_uniqueid: row.asterisk_uniqueid,
            asterisk_linkedid: row.asterisk_linkedid,
            refusal_reason: row.refusal_reason,
            attempts: row.attempts,
            created_at: Moment(row.created_at),
            user_id: row.user_id.filter(|_| role != Role::User),
            transcript_matches: None,
        }
    }
}

impl OfferOfCall {
    fn of(row: AttemptRow) -> Self {
        Self {
            attempt: row.attempt,
            client_id: row.client_id,
            endpoint: row.endpoint,
            offered_at: Moment(row.offered_at),
            answered_at: row.answered_at.map(Moment),
            ended_at: row.ended_at.map(Moment),
            outcome: row.outcome,
            dial_status: row.dial_status,
            hangup_cause_code: row.hangup_cause_code,
        }
    }
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<LoggedPage>, Problem> {
    let page = query.page(50)?;
    let (filter, words) = filter(&api, &query, &caller).await?;
    let order = order(&query)?;
    let start = match query.text("cursor") {
        None => None,
        Some("start") => Some(None),
        Some(cursor) => Some(Some(read_cursor(cursor, order)?)),
    };
    let offset = if start.is_some() { 0 } else { page.offset() };
    // One more than shown tells whether there are more.
    let (mut rows, total) = api
        .store
        .logged_calls(
            caller.reach(),
            &filter,
            order,
            start.flatten(),
            page.per_page + 1,
            offset,
            start.is_none(),
        )
        .await
        .map_err(too_slow)?;
    let more = rows.len() as i64 > page.per_page;
    rows.truncate(page.per_page as usize);
    let next_cursor = rows
        .last()
        .filter(|_| more)
        .map(|row| write_cursor(order, row.position()));
    let mut items: Vec<LoggedCall> = rows
        .into_iter()
        .map(|row| LoggedCall::of(row, caller.role))
        .collect();
    if let Some(words) = words {
        show_matches(&api, &caller, &mut items, &words).await?;
    }
    Ok(Json(paged(items, page, total, next_cursor)))
}

/// Shows where in these calls words were spoken.
async fn show_matches(
    api: &Api,
    caller: &Caller,
    calls: &mut [LoggedCall],
    words: &str,
) -> Result<(), Problem> {
    let ids: Vec<i64> = calls.iter().map(|call| call.id).collect();
    let matches = api
        .store
        .transcript_matches(caller.reach(), caller.owner(), &ids, words)
        .await
        .map_err(too_slow)?;
    let mut by_call: HashMap<i64, Vec<TranscriptMatch>> = HashMap::new();
    for found in matches {
        let shown = by_call.entry(found.call_id).or_default();
        shown.push(TranscriptMatch::of(found));
    }
    for call in calls {
        let mut shown = by_call.remove(&call.id).unwrap_or_default();
        shown.truncate(MOST_MATCHES);
        call.transcript_matches = Some(shown);
    }
    Ok(())
}

fn paged(
    items: Vec<LoggedCall>,
    page: Page,
    total: Option<i64>,
    next_cursor: Option<String>,
) -> LoggedPage {
    LoggedPage {
        items,
        page: total.map(|_| page.page),
        per_page: page.per_page,
        total,
        pages: total.map(|total| (total + page.per_page - 1) / page.per_page),
        next_cursor,
    }
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Json<LoggedCallDetails>, Problem> {
    let owner = caller.owner();
    let row = api.store.logged_call(caller.reach(), owner, id).await?;
    let row = row.ok_or_else(|| Problem::not_found("call"))?;
    let attempts = api
        .store
        .attempts_of_logged_call(caller.reach(), owner, id)
        .await?;
    let recorded = api
        .store
        .recording_of_call(caller.reach(), owner, id, None)
        .await?;
    let (recording, job) = recorded.map_or((None, None), |r| (r.recording, r.job));
    Ok(Json(LoggedCallDetails {
        call: LoggedCall::of(row, caller.role),
        offers: attempts.into_iter().map(OfferOfCall::of).collect(),
        recording: recording.as_ref().map(RecordingOfCall::of),
        transcription: job.map(TranscriptionOfCall::of),
    }))
}

/// A search that the database gave up: say how to make it easier.
pub fn too_slow(error: store::Error) -> Problem {
    if error.is_overload() {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_slow",
            "This takes too long. Narrow it with start_date and end_date, or go through the calls with a cursor.",
        );
    }
    error.into()
}

/// The order asked for.
pub fn order(query: &Query) -> Result<Order, Problem> {
    let sort = query.choice("sort", SORTS)?;
    let orders = [
        Order::Newest,
        Order::Oldest,
        Order::Longest,
        Order::Shortest,
    ];
    let asked = orders.into_iter().find(|o| sort == Some(o.as_str()));
    Ok(asked.unwrap_or(Order::Newest))
}

/// The calls asked for, of those the caller may see; and the words looked for in their transcripts, if there are any.
pub async fn filter(
    api: &Api,
    query: &Query,
    caller: &Caller,
) -> Result<(CallFilter, Option<String>), Problem> {
    let mut filter = plain_filter(query, caller)?;
    if !query.has("transcript") {
        return Ok((filter, None));
    }
    let words = query.checked("transcript", 200)?.unwrap_or_default();
    let words = words.to_owned();
    caller.check_scope("transcripts", &Method::GET)?;
    let found = api
        .store
        .calls_with_words(caller.reach(), filter.user_id, &words)
        .await
        .map_err(too_slow)?;
    match found {
        Spoken::Nothing => {
            return Err(Problem::bad_request(
                "nothing_to_look_for",
                "`transcript` holds no word that could be looked for: words such as `the` and `of` are in every call.",
            ));
        }
        Spoken::In(calls) => filter.found = Some(calls),
        Spoken::Many => filter.spoken = Some(words.clone()),
    }
    Ok((filter, Some(words)))
}

fn plain_filter(query: &Query, caller: &Caller) -> Result<CallFilter, Problem> {
    // Also where no day is given that it would be of.
    zone(query).map(drop)?;
    let user_id = match caller.role {
        Role::User => Some(caller.user_id.0),
        Role::Admin | Role::Staff => query.id("user_id")?,
    };
    let statuses = query.checked("call_status", 1_000)?.map(|list| {
        let statuses = list.split(',').filter(|status| !status.is_empty());
        statuses.map(str::to_owned).collect()
    });
    let caller_number = query.checked("caller", 100)?.map(number);
    let prefix = caller_number.as_deref().and_then(|n| n.strip_suffix('*'));
    let text = query
        .checked("q", 100)?
        .map(number)
        .filter(|text| !text.trim().is_empty());
    let digits = text.as_deref().and_then(digits);
    Ok(CallFilter {
        user_id,
        from: bound(query, "start_date", Bound::Start)?,
        before: bound(query, "end_date", Bound::End)?,
        campaign_id: query.id("campaign_id")?,
        did_id: query.id("did_id")?,
        client_id: query.id("client_id")?,
        statuses,
        refusal_reason: query.checked("refusal_reason", 100)?.map(str::to_owned),
        did_number: query.checked("did", 50)?.map(number),
        caller_is_prefix: prefix.is_some(),
        caller: prefix.map(str::to_owned).or(caller_number.clone()),
        min_duration: seconds(query, "min_duration")?,
        max_duration: seconds(query, "max_duration")?,
        digits,
        text,
        spoken: None,
        found: None,
    })
}

/// A plus that was not percent-encoded arrives as a blank.
fn number(text: &str) -> String {
    match text.strip_prefix(' ') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("+{rest}"),
        _ => text.to_owned(),
    }
}

/// The digits of a text that is written like a number.
fn digits(text: &str) -> Option<String> {
    let like_a_number = text
        .chars()
        .all(|c| c.is_ascii_digit() || "+-()./ ".contains(c));
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (like_a_number && !digits.is_empty()).then_some(digits)
}

fn seconds(query: &Query, name: &str) -> Result<Option<i32>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    match text.trim().parse::<i32>() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(Problem::bad_request(
            "bad_parameter",
            format!("`{name}` must be a whole number of seconds, 0 to 2147483647."),
        )),
    }
}

/// Not a day or a time.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// Which end of a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Start,
    End,
}

/// The first moment that counts, or the first that does not: bounds are inclusive, days are those of `tz`.
pub(super) fn bound(query: &Query, name: &str, bound: Bound) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    read_bound(text, bound, &zone(query)?).map_err(|Malformed| {
        Problem::bad_request(
            "bad_parameter",
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

fn sort_tag(order: Order) -> u8 {
    match order {
        Order::Newest => 1,
        Order::Oldest => 2,
        Order::Longest => 3,
        Order::Shortest => 4,
    }
}

/// A position as clients keep it: they need not know what it says.
fn write_cursor(order: Order, position: Position) -> String {
    let mut bytes = vec![sort_tag(order)];
    bytes.extend(position.timestamp_start.as_microsecond().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    bytes.extend(position.duration_seconds.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str, order: Order) -> Result<Position, Problem> {
    let parse = || {
        let bytes: [u8; 21] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let micros = i64::from_be_bytes(bytes[1..9].try_into().ok()?);
        let position = Position {
            timestamp_start: Timestamp::from_microsecond(micros).ok()?,
            id: i64::from_be_bytes(bytes[9..17].try_into().ok()?),
            duration_seconds: i32::from_be_bytes(bytes[17..].try_into().ok()?),
        };
        (bytes[0] == sort_tag(order)).then_some(position)
    };
    parse().ok_or_else(|| {
        Problem::bad_request(
            "bad_cursor",
            "`cursor` is not one of this list in this order. Take `nextCursor` of the answer before, or `start`.",
        )
    })
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

    #[test]
    fn a_cursor_is_for_one_order() {
        let position = Position {
            id: 7,
            timestamp_start: "2026-01-31T12:00:00.123456Z".parse().expect("a time"),
            duration_seconds: -1,
        };
        let cursor = write_cursor(Order::Newest, position);
        assert_eq!(
            read_cursor(&cursor, Order::Newest).expect("reads"),
            position
        );
        assert!(read_cursor(&cursor, Order::Oldest).is_err());
        for text in ["", "x", "AAAA", &cursor[1..], &format!("{cursor}A")] {
            assert!(read_cursor(text, Order::Newest).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_search_for_a_number_looks_at_its_digits() {
        assert_eq!(digits("(800) 555-01"), Some("80055501".to_owned()));
        assert_eq!(digits("Suite 12"), None);
        assert_eq!(digits("+"), None);
        assert_eq!(number(" 1800"), "+1800");
        assert_eq!(number(" Smith"), " Smith");
    }
}
