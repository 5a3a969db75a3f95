//! Calls under way: who has them, and how to end one.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::Caller;
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Ids, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use super::scope::Side;
use super::usage::{REASON, reason};
use super::{Api, Problem};
use crate::clock;
use crate::domain::CallId;
use crate::routing::{self, NoHangUp};
use crate::store::live::{LiveCallRow, LiveFilter, LiveTarget};
use crate::store::request::Change;

/// The operations on calls under way.
pub fn operations() -> Vec<Operation> {
    Side::BOTH.into_iter().flat_map(on).collect()
}

fn on(side: Side) -> Vec<Operation> {
    let operations = [
        Operation::get(
            side.pick("/api/seller/calls", "/api/admin/calls"),
            side.pick("listLiveCalls", "listAllLiveCalls"),
            list,
        )
        .tagged(
            "calls",
            side.pick("List your calls under way", "List all calls under way"),
        )
        .about(side.pick(
            "",
            "Also those to numbers that nobody has, until Asterisk reports their end.",
        ))
        .query(&PAGING)
        .query(&FILTERS)
        .query(side.user_filter())
        .answers::<Listed<LiveCall>>(
            200,
            side.pick(
                "Your calls under way, newest first.",
                "All calls under way, newest first.",
            ),
        )
        .problems(&[400]),
        Operation::post(
            side.pick(
                "/api/seller/calls/{id}/hangup",
                "/api/admin/calls/{id}/hangup",
            ),
            side.pick("hangUpCall", "hangUpAnyCall"),
            hang_up,
        )
        .tagged(
            "calls",
            side.pick("End a call of yours now", "End a call under way now"),
        )
        .about(
            "Asterisk takes the caller's channel down, and with it the target's; the call is logged as always, with \
             `hangupBy` `system`. 409 where this daemon does not watch the Asterisk the call is on: the message names \
             the daemons that do. 502 where Asterisk does not do it.",
        )
        .body_if_any(&REASON)
        .example(r#"{"reason": "Abusive caller"}"#)
        .answers::<HungUp>(200, "Asterisk was told, or the call's channel had gone already.")
        .problems(&[409, 502]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

const STATES: &[&str] = &["routing", "offered", "talking", "refused"];

const FILTERS: [Parameter; 3] = [
    parameter(
        "campaign_id",
        ParameterKind::Integer,
        "Only calls of this campaign.",
    ),
    parameter(
        "client_id",
        ParameterKind::Integer,
        "Only calls that are with this client now.",
    ),
    parameter(
        "state",
        ParameterKind::Choice(STATES),
        "Only calls that stand so.",
    ),
];

/// A call that was told to end.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HungUp {
    call_id: i64,
    /// False: its channel had gone already, its end is about to be settled.
    hung_up: bool,
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
    fn of(row: LiveCallRow, now: Timestamp) -> Self {
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
            caller_number: row.caller_number,
            caller_name: row.caller_name,
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
    let filter = LiveFilter {
        user_id: query.only_id("user_id")?,
        campaign_id: query.only_id("campaign_id")?,
        client_id: query.only_id("client_id")?,
        state: query.choice("state", STATES)?,
    };
    let (calls, total) = api
        .store
        .live_calls(caller.reach(), &filter, page.bounds())
        .await?;
    let now = clock::now();
    let calls = calls.into_iter().map(|call| LiveCall::of(call, now));
    Ok(Json(page.of(calls.collect(), total)))
}

async fn hang_up(
    State(api): State<Api>,
    caller: Caller,
    Ids([call_id]): Ids<1>,
    body: HttpRequest,
) -> Result<Json<HungUp>, Problem> {
    let why = reason(body).await?;
    let call = CallId(call_id);
    let found = api.engine.find_to_hang_up(caller.reach(), call).await;
    let order = found
        .map_err(|error| match error {
            routing::Error::Store(error) => error.into(),
            error => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a call cannot be ended"
                );
                Problem::internal()
            }
        })?
        .map_err(not_ended)?;
    // Noted first: what was done must not go unnoted.
    let request = api.store.request(caller.reach()).await?;
    let owner = request.owner_of_call(call).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: owner,
            action: "hang_up",
            object_type: "call",
            object_id: call_id.to_string(),
            before: None,
            after: None,
            reason: why.as_deref(),
        })
        .await?;
    request.commit().await?;
    let hung_up = order.carry_out().await.map_err(not_ended)?;
    Ok(Json(HungUp { call_id, hung_up }))
}

fn not_ended(why: NoHangUp) -> Problem {
    match why {
        NoHangUp::NotLive => Problem::not_found("call under way"),
        NoHangUp::NotSeen => Problem::conflict(
            "not_seen_yet",
            "No Asterisk has been seen to carry this call yet. Try again in a moment.",
        ),
        NoHangUp::Elsewhere { server, nodes } => {
            let who = if nodes.is_empty() {
                "the operator's staff can end it at the daemon that does".to_owned()
            } else {
                format!("ask the daemon {}", nodes.join(" or "))
            };
            Problem::conflict(
                "not_watched_here",
                format!("The call is on {server}, which this daemon does not watch: {who}."),
            )
        }
        NoHangUp::Failed { server, reason } => {
            tracing::warn!(server = %server, reason, "Asterisk does not end a call");
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "asterisk_failed",
                format!("{server} did not end the call. The daemon's log says why."),
            )
        }
    }
}
