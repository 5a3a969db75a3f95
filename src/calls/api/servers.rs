//! The Asterisk servers, and what staff ends by hand: the calls of a server that does not come back, one call, one
//! slot.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request as HttpRequest, State};
use schemars::JsonSchema;
use serde::Serialize;

use crate::calls::store::servers::ServerRow;
use crate::catalogue::api::usage::{REASON, reason};
use crate::db::request::Change;
use crate::domain::{CallId, ReservationId, ServerName};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Ids;
use crate::http::kit::trace;
use crate::routing::{self, DeclaredDead};

/// The operations on servers, and those that end by hand.
pub fn operations() -> Vec<Operation> {
    const NOBODY_HUNG_UP: &str = "Nobody is hung up. Use it only where the call is certainly over: if it goes on, its \
                                  target gets more calls than its cap allows.";
    let operations = vec![
        Operation::get("/api/admin/servers", "listServers", list)
            .tagged("servers", "List the Asterisk servers")
            .about("Those that a daemon has observed, with who observes them and how long ago it saw them.")
            .answers::<Vec<Server>>(200, "The servers, by name."),
        Operation::post(
            "/api/admin/servers/{name}/declare-dead",
            "declareServerDead",
            declare_dead,
        )
        .tagged("servers", "Declare a server dead")
        .about(
            "For an Asterisk that does not come back: its calls end as lost, and their slots are free. Refused with 409 \
             (`server_observed`) when a daemon saw it within 60 seconds; the message names the daemon.",
        )
        .body_if_any(&REASON)
        .example(r#"{"reason": "The machine burnt"}"#)
        .answers::<ServerDeclaredDead>(200, "Its calls have ended.")
        .problems(&[409]),
        Operation::post("/api/admin/calls/{id}/release", "releaseCall", release_call)
            .tagged("calls", "End a call in the books")
            .about(NOBODY_HUNG_UP)
            .body_if_any(&REASON)
            .example(r#"{"reason": "Its Asterisk is gone"}"#)
            .answers::<ReleasedCall>(200, "It is in the log as lost, its slot is free."),
        Operation::post(
            "/api/admin/reservations/{id}/release",
            "releaseReservation",
            release_reservation,
        )
        .tagged("calls", "Free one slot")
        .about(NOBODY_HUNG_UP)
        .body_if_any(&REASON)
        .example(r#"{"reason": "Left over, see ticket 4711"}"#)
        .answers::<ReleasedReservation>(200, "The slot is free; its call, if it is under way, goes on without it."),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Staff))
        .collect()
}

/// An Asterisk server.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// As the configuration of its observers names it.
    name: String,
    /// Asterisk's entity id.
    entity_id: Option<String>,
    /// Asterisk's system name.
    system_name: Option<String>,
    /// When Asterisk started, by its own clock.
    startup_time: Option<Moment>,
    version: Option<String>,
    /// The daemon that observes it, or did last.
    observer: Option<String>,
    /// When a daemon saw it last.
    last_seen_at: Moment,
    seconds_since_seen: i64,
    declared_dead_at: Option<Moment>,
    declared_dead_by: Option<String>,
    /// Calls on it that are under way.
    calls_under_way: i64,
}

/// That a server was declared dead.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDeclaredDead {
    name: String,
    /// Calls that ended with it.
    calls_ended: u32,
}

/// A call that was ended by hand.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedCall {
    /// Also the id of its record in the log.
    call_id: i64,
}

/// A slot that was freed by hand.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedReservation {
    reservation_id: i64,
}

impl Server {
    fn of(row: ServerRow) -> Self {
        Self {
            name: row.name,
            entity_id: row.entity_id,
            system_name: row.system_name,
            startup_time: row.startup_time.map(Moment),
            version: row.version,
            observer: row.observer,
            last_seen_at: Moment(row.heartbeat),
            seconds_since_seen: row.seconds_ago,
            declared_dead_at: row.declared_dead_at.map(Moment),
            declared_dead_by: row.declared_dead_by,
            calls_under_way: row.calls_under_way,
        }
    }
}

async fn list(State(api): State<Api>) -> Result<Json<Vec<Server>>, Problem> {
    let rows = api.store.servers().await?;
    Ok(Json(rows.into_iter().map(Server::of).collect()))
}

async fn declare_dead(
    State(api): State<Api>,
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    body: HttpRequest,
) -> Result<Json<ServerDeclaredDead>, Problem> {
    let unknown = || Problem::not_found("server");
    let name = name.ok().and_then(|Path(name)| ServerName::parse(&name));
    let name = name.ok_or_else(unknown)?;
    let why = reason(body).await?;
    match api
        .engine
        .declare_server_dead(&name, &caller.username)
        .await?
    {
        DeclaredDead::Done { calls } => {
            // Afterwards: it may take longer than a transaction may wait. Asked again, it is done and noted again.
            let object = ("server", name.to_string());
            note(&api, &caller, "declare_dead", object, why.as_deref()).await?;
            Ok(Json(ServerDeclaredDead {
                name: name.to_string(),
                calls_ended: calls,
            }))
        }
        DeclaredDead::Observed {
            observer,
            seconds_ago,
        } => Err(Problem::conflict(
            Code::ServerObserved,
            format!(
                "Daemon {observer} saw {name} {seconds_ago} seconds ago: it is not dead. Nothing was ended."
            ),
        )),
        DeclaredDead::Unknown => Err(unknown()),
    }
}

async fn release_call(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    body: HttpRequest,
) -> Result<Json<ReleasedCall>, Problem> {
    let why = reason(body).await?;
    let call = CallId(id);
    if !api.engine.is_releasable(call).await? {
        return Err(Problem::not_found("call under way"));
    }
    let object = ("call", id.to_string());
    note(&api, &caller, "release", object, why.as_deref()).await?;
    if !finish(async move { api.engine.release_call(call).await }).await? {
        return Err(Problem::not_found("call under way"));
    }
    Ok(Json(ReleasedCall { call_id: id }))
}

async fn release_reservation(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    body: HttpRequest,
) -> Result<Json<ReleasedReservation>, Problem> {
    let why = reason(body).await?;
    let reservation = ReservationId(id);
    if !api.engine.is_open(reservation).await? {
        return Err(Problem::not_found("open reservation"));
    }
    let object = ("reservation", id.to_string());
    note(&api, &caller, "release", object, why.as_deref()).await?;
    if !finish(async move { api.engine.release_reservation(reservation).await }).await? {
        return Err(Problem::not_found("open reservation"));
    }
    Ok(Json(ReleasedReservation { reservation_id: id }))
}

/// Runs a release to its end, though the asker may leave.
async fn finish(
    release: impl Future<Output = Result<bool, routing::Error>> + Send + 'static,
) -> Result<bool, Problem> {
    let released = tokio::spawn(trace::within(release)).await;
    released
        .map_err(|error| {
            tracing::error!(%error, "the task of a release died");
            Problem::internal()
        })?
        .map_err(Problem::from)
}

/// Notes something in the audit log. A release is noted before it is made, so that none is without its note: who
/// asked for it and why.
async fn note(
    api: &Api,
    caller: &Caller,
    action: &'static str,
    (object_type, object_id): (&'static str, String),
    reason: Option<&str>,
) -> Result<(), Problem> {
    let request = api.store.request(caller.reach()).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: None,
            action,
            object_type,
            object_id,
            before: None,
            after: None,
            reason,
        })
        .await?;
    request.commit().await?;
    Ok(())
}
