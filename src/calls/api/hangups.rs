//! Ending a call under way: by this daemon where it watches the call's Asterisk, else by one that does.
//!
//! What was done must not go unnoted, so it is noted first. Whoever asks waits some seconds at most, and an order that
//! nobody has taken by then is never carried out.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::calls::store::hangups::OrderState;
use crate::catalogue::api::usage::{REASON, reason};
use crate::db::request::{Change, Request};
use crate::domain::{CallId, Role, ServerName, UserId};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Ids;
use crate::http::kit::scope::Side;
use crate::routing::{self, HangUpOrder, NoHangUp};

/// How long another daemon may take to take an order.
const TO_TAKE: Duration = Duration::from_secs(4);

/// How long whoever asks waits for what came of it.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn hanging_up(side: Side) -> Operation {
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
         `hangupBy` `system`. Where another daemon watches the Asterisk the call is on, it is asked, and the answer takes \
         up to 5 seconds: 504 `order_not_taken` says that the order was not taken and never will be, 504 \
         `order_unanswered` that it was, and that what came of it is not known yet. 409 where no daemon watches that \
         Asterisk. 502 where Asterisk does not do it.",
    )
    .body_if_any(&REASON)
    .example(r#"{"reason": "Abusive caller"}"#)
    .answers::<HungUp>(200, "Asterisk was told, or the call's channel had gone already.")
    .problems(&[409, 502, 504])
    .access(side.access())
}

/// A call that was told to end.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HungUp {
    call_id: i64,
    /// False: its channel had gone already, its end is about to be settled.
    hung_up: bool,
}

/// Who ends the call.
enum By {
    Us(HangUpOrder),
    Another(ServerName),
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
    let by = match found.map_err(broken)? {
        Ok(order) => By::Us(order),
        Err(NoHangUp::Elsewhere { server, nodes }) if !nodes.is_empty() => By::Another(server),
        Err(why) => return Err(not_ended(&caller, why)),
    };
    let request = api.store.request(caller.reach()).await?;
    let owner = request.owner_of_call(call).await?;
    note(&request, &caller, owner, call, why.as_deref()).await?;
    let hung_up = match by {
        By::Us(order) => {
            request.commit().await?;
            let done = order.carry_out(&api.engine).await.map_err(broken)?;
            done.map_err(|why| not_ended(&caller, why))?
        }
        By::Another(server) => {
            let order = request.order_hang_up(owner, call, &server, TO_TAKE).await?;
            request.commit().await?;
            wait(&api, &caller, order, &server).await?
        }
    };
    Ok(Json(HungUp { call_id, hung_up }))
}

/// Waits for what comes of an order that another daemon is to take.
async fn wait(
    api: &Api,
    caller: &Caller,
    order: i64,
    server: &ServerName,
) -> Result<bool, Problem> {
    let until = Instant::now() + TO_ANSWER;
    loop {
        let state = api.store.hang_up_order(caller.reach(), order).await?;
        match state {
            OrderState::Done(hung_up) => return Ok(hung_up),
            OrderState::Failed => return Err(failed(server)),
            OrderState::Expired => {
                return Err(Problem::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    Code::OrderNotTaken,
                    "The daemon that watches the call's Asterisk did not take the order in time. It is not carried out any \
                     more: ask again.",
                ));
            }
            OrderState::Asked | OrderState::Taken => {}
        }
        if state == OrderState::Taken && Instant::now() >= until {
            return Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                Code::OrderUnanswered,
                "A daemon has taken the order and has not said yet what came of it. Look at the call.",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn note(
    request: &Request,
    caller: &Caller,
    owner: Option<UserId>,
    call: CallId,
    why: Option<&str>,
) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: owner,
            action: "hang_up",
            object_type: "call",
            object_id: call.to_string(),
            before: None,
            after: None,
            reason: why,
        })
        .await?;
    Ok(())
}

fn broken(error: routing::Error) -> Problem {
    match error {
        routing::Error::Store(error) => error.into(),
        error => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a call cannot be ended"
            );
            Problem::internal()
        }
    }
}

fn failed(server: &ServerName) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        Code::AsteriskFailed,
        format!("{server} did not end the call. The log of the daemon that watches it says why."),
    )
}

fn not_ended(caller: &Caller, why: NoHangUp) -> Problem {
    // A seller is told nothing of daemons.
    let staff = caller.role != Role::User;
    match why {
        NoHangUp::NotLive => Problem::not_found("call under way"),
        NoHangUp::NotSeen => Problem::conflict(
            Code::NotSeenYet,
            "No Asterisk has been seen to carry this call yet. Try again in a moment.",
        ),
        NoHangUp::Elsewhere { server, .. } => Problem::conflict(
            Code::NotWatchedHere,
            if staff {
                format!(
                    "The call is on {server}, which no daemon watches now: see GET /api/admin/servers."
                )
            } else {
                format!(
                    "The call is on {server}, which is not watched now. Try again in a moment, or tell the operator's staff."
                )
            },
        ),
        NoHangUp::Contested { server } => Problem::conflict(
            Code::ServerContested,
            format!(
                "Several Asterisks use the name {server}, and which of them has the call is not known: another call could be \
                 ended. The operator's staff gives each a name of its own."
            ),
        ),
        NoHangUp::Failed { server, reason } => {
            tracing::warn!(server = %server, reason, "Asterisk does not end a call");
            failed(&server)
        }
    }
}
