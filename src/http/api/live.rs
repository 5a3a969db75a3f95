//! Calls under way.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Access, Caller};
use super::callers::CallersShown;
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Listed, PAGING, Query};
use super::{Api, Problem};
use crate::clock;
use crate::store::live::{LiveCallRow, LiveTarget};

/// The operations on calls under way.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/seller/calls", "listLiveCalls", list)
            .tagged("calls", "List your calls under way")
            .access(Access::Seller)
            .query(&PAGING)
            .answers::<Listed<LiveCall>>(200, "Your calls under way, newest first.")
            .problems(&[400]),
        Operation::get("/api/admin/calls", "listAllLiveCalls", list)
            .tagged("calls", "List all calls under way")
            .about("Also those to numbers that nobody has, until Asterisk reports their end.")
            .access(Access::Staff)
            .query(&PAGING)
            .answers::<Listed<LiveCall>>(200, "All calls under way, newest first.")
            .problems(&[400]),
    ]
}

/// A call under way.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCall {
    /// Also the id of its record in the log, once it has ended.
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
) -> Result<Json<Listed<LiveCall>>, Problem> {
    let page = query.page(20)?;
    let callers = CallersShown::to(&api, &caller).await?;
    let (calls, total) = api
        .store
        .live_calls(caller.reach(), page.per_page, page.offset())
        .await?;
    let now = clock::now();
    let calls = calls
        .into_iter()
        .map(|call| LiveCall::of(call, now, callers));
    Ok(Json(page.of(calls.collect(), total)))
}
