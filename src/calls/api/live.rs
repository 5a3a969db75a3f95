//! Calls: those under way, and by the same addresses those of the log.

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::hangups;
use super::logs::{self, FILTERS, LoggedCallDetails, LoggedPage, PAGE_PARAMETERS, USER_FILTER};
use crate::accounts::callers::CallersShown;
use crate::calls::store::live::{LiveCallRow, LiveFilter, LiveTarget};
use crate::calls::store::logs::Order;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Listed, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::scope::Side;
use crate::http::kit::words;
use crate::runtime::clock;

/// The operations on calls, under way or ended.
pub fn operations() -> Vec<Operation> {
    let list = |path, id, access| {
        Operation::get(path, id, list)
            .heavy_if(searches_the_log)
            .about(
                "Those under way, unless `state=ended` asks for the log: then filters, order and cursors are those of the \
                 log, and an API key needs `logs:read` (or `read`). Of calls under way there are pages and a total; their \
                 duration is their age, and `call_status` and `transcript` are not for them.",
            )
            .access(access)
            .query(&[STATE])
            .query(&PAGE_PARAMETERS)
            .query(&FILTERS)
            .answers::<Calls>(200, "Calls, newest first unless sorted otherwise.")
            .problems(&[400])
    };
    let read = |path, id, access| {
        Operation::get(path, id, read)
            .about(
                "Under way or ended: `state` says which. The id stays the same. Of an ended call an API key needs \
                 `logs:read` (or `read`).",
            )
            .access(access)
            .answers::<Call>(200, "The call.")
    };
    vec![
        list("/api/seller/calls", "listCalls", Access::Seller).tagged("calls", "List your calls"),
        list("/api/admin/calls", "listAllCalls", Access::Staff)
            .tagged("calls", "List the calls of all sellers")
            .query(&[USER_FILTER]),
        read("/api/seller/calls/{id}", "getCall", Access::Seller).tagged("calls", "Read a call"),
        read("/api/admin/calls/{id}", "getAnyCall", Access::Staff).tagged("calls", "Read any call"),
        hangups::hanging_up(Side::Seller),
        hangups::hanging_up(Side::Staff),
    ]
}

/// Whether it is the log that is asked for, and more of it than a part by time.
fn searches_the_log(query: &str) -> bool {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.any(|(name, value)| name == "state" && value == "ended") && logs::searches(query)
}

/// Which calls.
pub const STATES: &[&str] = &["live", "ended", "routing", "offered", "talking", "refused"];

const STATE: Parameter = parameter(
    "state",
    ParameterKind::Choice(STATES),
    "`live`: calls under way, which it is unless said, or those of them that stand so; `ended`: the log.",
);

/// Calls under way, or ended ones.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Calls {
    /// Those under way.
    Live(Listed<LiveCall>),
    /// Those of the log.
    Ended(LoggedPage),
}

/// A call under way, or an ended one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Call {
    /// It is under way.
    Live(Box<LiveCall>),
    /// It is in the log.
    Ended(Box<LoggedCallDetails>),
}

/// A call under way.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCall {
    /// Also the id of its record in the log, once it has ended.
    id: i64,
    /// The same.
    call_id: i64,
    started_at: Moment,
    age_seconds: i64,
    /// The number dialled.
    did: String,
    caller_number: Option<String>,
    caller_name: Option<String>,
    campaign: Option<Named>,
    state: CallState,
    /// Why it was refused, where it was.
    #[schemars(with = "Option<words::RefusedFor>")]
    reason: Option<String>,
    /// Who has it now.
    target: Option<Target>,
    /// The Asterisk it is on, once known.
    server: Option<String>,
    /// The daemon that was asked first.
    node: String,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// A target is looked for.
    Routing,
    /// It rings at a target.
    Offered,
    /// A target has answered.
    Talking,
    /// Refused; its end is not reported yet.
    Refused,
}

/// A thing with a name.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Named {
    /// Its id.
    pub id: i32,
    /// Its name; null when it was deleted.
    pub name: Option<String>,
}

/// Who a call is with.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    client_id: i32,
    /// The client's name; null when it was deleted.
    name: Option<String>,
    endpoint: String,
    link_id: i32,
    /// 1 for the call's first target.
    attempt: i32,
    offered_at: Moment,
    answered_at: Option<Moment>,
}

impl LiveCall {
    fn of(row: LiveCallRow, now: Timestamp, callers: CallersShown) -> Self {
        let state = match &row.target {
            Some(target) if target.confirmed => CallState::Talking,
            Some(_) => CallState::Offered,
            None if row.refused_at.is_some() => CallState::Refused,
            None => CallState::Routing,
        };
        Self {
            id: row.call_id.0,
            call_id: row.call_id.0,
            started_at: Moment(row.started_at),
            age_seconds: now.duration_since(row.started_at).as_secs().max(0),
            did: row.did_number,
            caller_number: callers.number(row.caller_number),
            caller_name: callers.name(row.caller_name),
            campaign: row.campaign_id.map(|id| Named {
                id: id.0,
                name: row.campaign_name,
            }),
            state,
            reason: row.refusal_reason,
            target: row.target.map(Target::of),
            server: row.server,
            node: row.node,
        }
    }
}

impl Target {
    fn of(target: LiveTarget) -> Self {
        Self {
            client_id: target.client_id.0,
            name: target.client_name,
            endpoint: target.endpoint,
            link_id: target.link_id.0,
            attempt: target.attempt,
            offered_at: Moment(target.offered_at),
            answered_at: target.answered_at.map(Moment),
        }
    }
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Calls>, Problem> {
    if query.choice(STATE.name, STATES)? == Some("ended") {
        caller.check_scope("logs", &Method::GET)?;
        return Ok(Json(Calls::Ended(
            logs::ended(&api, &caller, &query).await?,
        )));
    }
    let page = query.page(20)?;
    let state = query.choice(STATE.name, STATES)?;
    for name in ["call_status", "transcript"] {
        if query.text(name).is_some() {
            return Err(Problem::bad_request(
                Code::BadParameter,
                format!("`{name}` is of calls that have ended: add `state=ended`."),
            ));
        }
    }
    let callers = CallersShown::to(&api, &caller).await?;
    callers.check_search(&api, &caller, &query)?;
    let filter = LiveFilter {
        calls: logs::plain_filter(&query, &caller)?,
        state: state.filter(|state| *state != "live"),
        // The longest are the oldest.
        oldest_first: matches!(logs::order(&query)?, Order::Oldest | Order::Longest),
    };
    let (calls, total) = api
        .store
        .live_calls(caller.reach(), &filter, page.bounds())
        .await?;
    let now = clock::now();
    let calls = calls
        .into_iter()
        .map(|call| LiveCall::of(call, now, callers));
    Ok(Json(Calls::Live(page.of(calls.collect(), total))))
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Response, Problem> {
    // First those under way: one that ends now is in the log a moment later.
    if let Some(call) = api.store.live_call(caller.reach(), id).await? {
        let callers = CallersShown::to(&api, &caller).await?;
        let call = LiveCall::of(call, clock::now(), callers);
        return Ok(Json(Call::Live(Box::new(call))).into_response());
    }
    let call = logs::ended_call(&api, &caller, id).await?;
    caller.check_scope("logs", &Method::GET)?;
    Ok(logs::versioned(&Call::Ended(Box::new(call))))
}
