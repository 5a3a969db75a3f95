//! The call log: lists by page and by cursor, and one call with its attempts.
//!
//! Also reads the filters that lists, [exports](super::export) and [statistics](super::statistics) have in common.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::accounts::callers::CallersShown;
use crate::accounts::security::{Kind, of_caller};
use crate::calls::store::logs::{AttemptRow, CallFilter, CallRow, Order, Position};
use crate::domain::Role;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::cursor::{self, Mark, TOTAL};
use crate::http::kit::etag::Tag;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::period::{Bound, bound};
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::words;
use crate::http::kit::zone::{TZ, zone};
use crate::recordings::api::recordings::RecordingOfCall;
use crate::transcripts::api::jobs::TranscriptionOfCall;
use crate::transcripts::api::transcripts::TranscriptMatch;
use crate::transcripts::store::views::Spoken;

/// The operations on the call log.
pub fn operations() -> Vec<Operation> {
    let list = |path, id, access| {
        Operation::get(path, id, list)
            .access(access)
            .heavy_if(searches)
            .about(
                "Newest first, unless sorted otherwise. `page` counts all calls that the filters leave, which \
                 takes long for many. `nextCursor`, sent as `cursor` with the same filters, goes on after \
                 the last call of this answer without counting, as fast on the last page as on the first; \
                 `cursor=start` begins so. With a cursor `page` and `pages` are null, and \
                 `total` is too unless `total=true` asks for it. With `transcript` each \
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
        list("/api/seller/logs", "listEndedCalls", Access::Seller)
            .tagged("logs", "List your calls that have ended")
            .alias_of("/api/seller/calls?state=ended"),
        read("/api/seller/logs/{id}", "getEndedCall", Access::Seller).tagged(
            "logs",
            "Read a call that has ended, and whom it was offered to",
        ),
        list("/api/admin/logs", "listAllEndedCalls", Access::Staff)
            .tagged("logs", "List the calls of all sellers that have ended")
            .alias_of("/api/admin/calls?state=ended")
            .query(&[USER_FILTER]),
        read("/api/admin/logs/{id}", "getAnyEndedCall", Access::Staff).tagged(
            "logs",
            "Read any call that has ended, and whom it was offered to",
        ),
    ]
}

/// Which part of the log, and in which order.
pub const PAGE_PARAMETERS: [Parameter; 5] = [
    TOTAL,
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

/// Whether a list asks for more than a part of the log by time, which an index gives.
pub fn searches(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| match &*name {
        "cursor" | "per_page" | "start_date" | "end_date" => false,
        "page" => value.trim().parse::<u32>().is_ok_and(|page| page > 20),
        _ => true,
    })
}

/// Most matches shown of a call.
const MOST_MATCHES: usize = 3;

/// Orders of the log.
pub const SORTS: &[&str] = &[
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

/// A call that has ended.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndedState {
    /// It is over.
    Ended,
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
    state: EndedState,
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
    #[schemars(with = "words::CallStatus")]
    call_status: String,
    hangup_cause_code: Option<i32>,
    hangup_cause_text: Option<String>,
    hangup_by: HangupBy,
    asterisk_uniqueid: Option<String>,
    asterisk_linkedid: Option<String>,
    #[schemars(with = "Option<words::RefusedFor>")]
    refusal_reason: Option<String>,
    /// How many targets it was offered to.
    attempts: i32,
    created_at: Moment,
    /// Its seller: for administrators and staff only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    user_id: Option<i32>,
    /// In answers to `transcript`: the first parts, three at most, with words that were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<TranscriptMatch>")]
    transcript_matches: Option<Vec<TranscriptMatch>>,
}

/// A page of the log.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LoggedCallList")]
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
    /// Sent as `cursor`, it leads to the calls after these; null with the last ones.
    next_cursor: Option<String>,
    /// Whether there are more.
    has_more: bool,
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
    #[schemars(with = "Option<words::AttemptOutcome>")]
    outcome: Option<String>,
    #[schemars(with = "Option<words::DialResult>")]
    dial_status: Option<String>,
    hangup_cause_code: Option<i32>,
}

impl LoggedCall {
    fn of(row: CallRow, role: Role, callers: CallersShown) -> Self {
        Self {
            id: row.id,
            state: EndedState::Ended,
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
            caller_id_num: callers.number(row.caller_id_num),
            caller_id_name: callers.name(row.caller_id_name),
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
    Ok(Json(ended(&api, &caller, &query).await?))
}

/// Calls that have ended.
pub async fn ended(api: &Api, caller: &Caller, query: &Query) -> Result<LoggedPage, Problem> {
    let page = query.page_without_cursor(50)?;
    let callers = CallersShown::to(api, caller).await?;
    let (filter, words) = filter(api, query, caller).await?;
    let order = order(query)?;
    let start = if query.has("cursor") {
        Some(read_cursor(query, order)?)
    } else {
        None
    };
    let counted = start.is_none() || query.flag("total")?;
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
            counted,
        )
        .await
        .map_err(Problem::too_slow)?;
    let (has_more, next_cursor) = cursor::cut(&mut rows, page.per_page, |row| {
        write_cursor(order, row.position())
    });
    let by_page = start.is_none();
    let mut items: Vec<LoggedCall> = rows
        .into_iter()
        .map(|row| LoggedCall::of(row, caller.role, callers))
        .collect();
    if let Some(words) = words {
        show_matches(api, caller, &mut items, &words).await?;
    }
    Ok(LoggedPage {
        items,
        page: by_page.then_some(page.page),
        per_page: page.per_page,
        total,
        pages: total
            .filter(|_| by_page)
            .map(|total| (total + page.per_page - 1) / page.per_page),
        next_cursor,
        has_more,
    })
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
        .map_err(Problem::too_slow)?;
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

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Response, Problem> {
    let call = ended_call(&api, &caller, id).await?;
    Ok(versioned(&call))
}

/// JSON with a version of its own: nothing that a row says changes with all of it.
pub fn versioned(call: &impl Serialize) -> Response {
    let json = Bytes::from(serde_json::to_vec(call).unwrap_or_default());
    let tag = Tag::of_text(&json).header();
    let mut response = json.into_response();
    let put = response.headers_mut();
    put.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(tag) = tag {
        put.insert(header::ETAG, tag);
    }
    response
}

/// A call that has ended, with all that was tried.
pub async fn ended_call(api: &Api, caller: &Caller, id: i64) -> Result<LoggedCallDetails, Problem> {
    let owner = caller.owner();
    let callers = CallersShown::to(api, caller).await?;
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
    Ok(LoggedCallDetails {
        call: LoggedCall::of(row, caller.role, callers),
        offers: attempts.into_iter().map(OfferOfCall::of).collect(),
        recording: recording.as_ref().map(RecordingOfCall::of),
        transcription: job.map(TranscriptionOfCall::of),
    })
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
    if query.has("caller") || query.has("q") {
        let callers = CallersShown::to(api, caller).await?;
        callers.check_search(api, caller, query)?;
    }
    let mut filter = plain_filter(query, caller)?;
    if !query.has("transcript") {
        return Ok((filter, None));
    }
    let words = query.checked("transcript", 200)?.unwrap_or_default();
    let words = words.to_owned();
    caller.check_scope("transcripts", &Method::GET)?;
    let mut given = query.given();
    // The next page of the same search is no other one.
    given.retain(|name, _| !["cursor", "page", "per_page"].contains(name));
    let given = json!(given);
    let searched = of_caller(Kind::TranscriptsSearched, caller);
    let what = given.to_string();
    let searched = searched.with(json!({ "filter": given }));
    api.security.note_once(&what, searched);
    let found = api
        .store
        .calls_with_words(caller.reach(), filter.user_id, &words)
        .await
        .map_err(Problem::too_slow)?;
    match found {
        Spoken::Nothing => {
            return Err(Problem::bad_request(
                Code::NothingToLookFor,
                "`transcript` holds no word that could be looked for: words such as `the` and `of` are in every call.",
            ));
        }
        Spoken::In(calls) => filter.found = Some(calls),
        Spoken::Many => filter.spoken = Some(words.clone()),
    }
    Ok((filter, Some(words)))
}

/// What can be asked of any call, ended or not.
pub(crate) fn plain_filter(query: &Query, caller: &Caller) -> Result<CallFilter, Problem> {
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
            Code::BadParameter,
            format!("`{name}` must be a whole number of seconds, 0 to 2147483647."),
        )),
    }
}

fn mark(order: Order) -> Mark {
    Mark(match order {
        Order::Newest => 1,
        Order::Oldest => 2,
        Order::Longest => 3,
        Order::Shortest => 4,
    })
}

fn write_cursor(order: Order, position: Position) -> String {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend(position.timestamp_start.as_microsecond().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    bytes.extend(position.duration_seconds.to_be_bytes());
    cursor::write(mark(order), &bytes)
}

fn read_cursor(query: &Query, order: Order) -> Result<Option<Position>, Problem> {
    let Some(bytes) = cursor::read::<20>(query, mark(order))? else {
        return Ok(None);
    };
    let parse = || {
        let micros = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        Some(Position {
            timestamp_start: Timestamp::from_microsecond(micros).ok()?,
            id: i64::from_be_bytes(bytes[8..16].try_into().ok()?),
            duration_seconds: i32::from_be_bytes(bytes[16..].try_into().ok()?),
        })
    };
    parse().map(Some).ok_or_else(cursor::bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_by_time_alone_is_a_search() {
        for plain in [
            "",
            "page=2&per_page=50",
            "cursor=start&start_date=2026-01-01",
            "page=x",
        ] {
            assert!(!searches(plain), "{plain}");
        }
        for search in [
            "q=a",
            "page=21",
            "cursor=start&did=1",
            "sort=duration",
            "user_id=3",
        ] {
            assert!(searches(search), "{search}");
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
        let read = |text: &str, order| {
            read_cursor(&Query::parse(&format!("cursor={text}")), order).map_err(|p| p.code())
        };
        assert_eq!(read(&cursor, Order::Newest), Ok(Some(position)));
        assert_eq!(read("start", Order::Newest), Ok(None));
        assert!(read(&cursor, Order::Oldest).is_err());
        for text in ["x", "AAAA", &cursor[1..], &format!("{cursor}A")] {
            assert!(read(text, Order::Newest).is_err(), "{text:?}");
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
