//! What concerns security, as people read it.

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::audit::{SORT, SORTS, days};
use crate::accounts::callers::CallersShown;
use crate::accounts::security::Kind;
use crate::accounts::store::security::{SecurityFilter, SecurityRow};
use crate::domain::Role;
use crate::http::api::Api;
use crate::http::kit::cursor::{ListPart, Mark, Ordered, Place};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Parameter, ParameterKind, Query, parameter};

/// The operations on security events.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/auth/security-events", "listOwnSecurityEvents", own)
            .heavy()
            .tagged("auth", "List your security events")
            .about(
                "Your log-ins and what you or your programs heard, read, searched and exported; of a seller also who \
                 else did so with its calls. Where others were is not shown. What was changed stands in the audit log.",
            )
            .access(Access::SignedIn)
            .session_only()
            .query(&FILTERS)
            .answers::<ListPart<SecurityEntry>>(200, "Events, newest first unless sorted otherwise.")
            .problems(&[400]),
        Operation::get("/api/admin/security-events", "listSecurityEvents", all)
            .heavy()
            .tagged("audit", "List security events")
            .about(
                "Log-ins, failures and locks, first uses of an API key from a network, recordings played, transcripts \
                 read and searched, exports. Staff sees those of sellers, of strangers and its own.",
            )
            .access(Access::Staff)
            .query(&FILTERS)
            .query(&OF_WHOM)
            .answers::<ListPart<SecurityEntry>>(200, "Events, newest first unless sorted otherwise.")
            .problems(&[400]),
    ]
}

/// The names of all kinds, as a filter takes them.
const EVENTS: &[&str] = &{
    let mut names = [""; Kind::ALL.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = Kind::ALL[n].as_str();
        n += 1;
    }
    names
};

const FILTERS: [Parameter; 7] = [
    parameter(
        "q",
        ParameterKind::Text,
        "Only events with this text in the actor's name, the id or the details, or, where they are shown, in the \
         address or the program's name; at most 100 characters.",
    ),
    SORT,
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before. Without it, the newest events.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Events on a page, at most 200; 50 unless said.",
    ),
    parameter("event", ParameterKind::Choice(EVENTS), "Only such events."),
    parameter(
        "start_date",
        ParameterKind::Moment,
        "Only events on or after this day (UTC), as 2026-01-31.",
    ),
    parameter(
        "end_date",
        ParameterKind::Moment,
        "Only events on or before this day (UTC), as 2026-01-31.",
    ),
];

const OF_WHOM: [Parameter; 4] = [
    parameter(
        "user_id",
        ParameterKind::Integer,
        "Only what concerns this seller.",
    ),
    parameter(
        "actor_id",
        ParameterKind::Integer,
        "Only what this account did.",
    ),
    parameter(
        "actor",
        ParameterKind::Text,
        "Only what the account of this name did.",
    ),
    parameter(
        "address",
        ParameterKind::Text,
        "Only what came from this address.",
    ),
];

/// A security event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityEntry {
    id: i64,
    at: Moment,
    /// `login`, `login_failed`, …
    event: String,
    /// Account that did it; null: nobody who was known.
    actor_id: Option<i32>,
    actor: Option<String>,
    /// How it was let in: `session:<id>`, `key:<id>`.
    via: Option<String>,
    /// The seller whom it concerns.
    user_id: Option<i32>,
    /// What it was about: `call`, `key`, `user`.
    object_type: Option<String>,
    object_id: Option<String>,
    /// What else there is to know: reason, filter, network. Never a secret.
    detail: Option<Value>,
    request_id: Option<String>,
    address: Option<String>,
    /// What the client called itself.
    user_agent: Option<String>,
}

impl SecurityEntry {
    fn of(row: SecurityRow, caller: &Caller, callers: CallersShown) -> Self {
        let whole = caller.role != Role::User || row.actor_id == Some(caller.user_id.0);
        Self {
            id: row.event_id,
            at: Moment(row.at),
            event: row.event,
            actor_id: row.actor_id,
            actor: row.actor,
            via: row.via.filter(|_| whole),
            user_id: row.user_id,
            object_type: row.object_type,
            object_id: row.object_id,
            detail: callers.kept(row.detail),
            request_id: row.request_id.filter(|_| whole),
            address: row.address.filter(|_| whole),
            user_agent: row.user_agent.filter(|_| whole),
        }
    }
}

async fn own(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<ListPart<SecurityEntry>>, Problem> {
    let filter = SecurityFilter {
        own: Some(caller.user_id.0),
        ..SecurityFilter::default()
    };
    page(&api, &caller, &query, filter).await
}

async fn all(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<ListPart<SecurityEntry>>, Problem> {
    let filter = SecurityFilter {
        user_id: query.id("user_id")?,
        actor_id: query.id("actor_id")?,
        actor: query.checked("actor", 100)?,
        address: query.checked("address", 100)?,
        seen_by_staff: (caller.role == Role::Staff).then_some(caller.user_id.0),
        ..SecurityFilter::default()
    };
    page(&api, &caller, &query, filter).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    query: &Query,
    filter: SecurityFilter<'_>,
) -> Result<Json<ListPart<SecurityEntry>>, Problem> {
    let per_page = query.per_page(50)?;
    let callers = CallersShown::to(api, caller).await?;
    callers.check_search(api, caller, query)?;
    let (from, to) = days(query, &TimeZone::UTC)?;
    let order = Ordered::read(query, Mark::SECURITY, SORTS)?;
    let filter = SecurityFilter {
        sort: order.sort,
        after: order.after.map(|place| place.id),
        text: query.checked("q", 100)?,
        event: query.choice("event", EVENTS)?,
        from,
        to,
        ..filter
    };
    // One more than asked for tells whether there is another page.
    let rows = api
        .store
        .security_events(caller.reach(), &filter, per_page + 1)
        .await
        .map_err(Problem::too_slow)?;
    Ok(Json(ListPart::of(
        rows,
        per_page,
        None,
        |row| order.next(Place::of_id(row.event_id)),
        |row| SecurityEntry::of(row, caller, callers),
    )))
}
