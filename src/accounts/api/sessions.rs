//! Sessions of one's own: where one is logged in, and how to end that.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::tenant_of;
use crate::accounts::store::sessions::SessionRow;
use crate::db::request::{Actor, Change};
use crate::http::api::Api;
use crate::http::kit::Message;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller, Via};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Ids;

/// The operations on sessions.
pub fn operations() -> Vec<Operation> {
    let operations = vec![
        Operation::get("/api/auth/sessions", "listSessions", list)
            .tagged("auth", "List your sessions")
            .about("At most the 500 last seen.")
            .answers::<Vec<SessionShown>>(200, "Your sessions, the last seen first."),
        Operation::delete("/api/auth/sessions", "endOtherSessions", end_others)
            .tagged("auth", "Log out everywhere else")
            .answers::<Message>(200, "All sessions but this one have ended."),
        Operation::delete("/api/auth/sessions/{id}", "endSession", end)
            .tagged("auth", "End a session")
            .answers_nothing(204, "It has ended."),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::SignedIn).session_only())
        .collect()
}

/// A login somewhere.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionShown {
    id: i64,
    created_at: Moment,
    /// When it was last used, to the minute.
    last_seen_at: Moment,
    /// When it ends if it is not used again; the remember cookie can renew it until then.
    expires_at: Moment,
    /// Where it was opened, or last renewed.
    address: String,
    /// What the client called itself at the login.
    user_agent: String,
    /// It is the one that asks.
    current: bool,
}

impl SessionShown {
    /// As the one who asks sees it.
    pub fn of(row: SessionRow, caller: &Caller) -> Self {
        Self {
            current: caller.via == Via::Session(row.session_id),
            id: row.session_id,
            created_at: Moment(row.created_at),
            last_seen_at: Moment(row.last_seen_at),
            expires_at: Moment(row.ends_at),
            address: row.address,
            user_agent: row.user_agent,
        }
    }
}

async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<SessionShown>>, Problem> {
    let sessions = api.store.sessions(caller.reach(), caller.user_id).await?;
    let shown = sessions.into_iter();
    Ok(Json(
        shown.map(|row| SessionShown::of(row, &caller)).collect(),
    ))
}

async fn end(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    if !request.end_session(caller.user_id, id).await? {
        return Err(Problem::not_found("session"));
    }
    request
        .audit(&ended_by(&caller, &caller.actor(), id.to_string()))
        .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_others(State(api): State<Api>, caller: Caller) -> Result<Json<Message>, Problem> {
    let stays = match caller.via {
        Via::Session(id) => Some(id),
        Via::Key(_) => None,
    };
    let request = api.store.request(caller.reach()).await?;
    let ended = request.end_sessions_but(caller.user_id, stays).await?;
    if ended > 0 {
        request
            .audit(&ended_by(&caller, &caller.actor(), "all others".to_owned()))
            .await?;
    }
    request.commit().await?;
    Ok(Json(Message::new(format!(
        "{ended} other sessions have ended."
    ))))
}

fn ended_by<'a>(caller: &Caller, actor: &'a Actor, object_id: String) -> Change<'a> {
    Change {
        actor,
        tenant: tenant_of(caller),
        action: "end",
        object_type: "session",
        object_id,
        before: None,
        after: None,
        reason: None,
    }
}
