//! Access taken back: keys, sessions and second factors of anybody, as administrators and staff see and end them.
//!
//! Invariant: staff does so for sellers only; accounts of staff and administrators are for administrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::keys::Key;
use super::sessions::SessionShown;
use crate::accounts::store::users::UserRow;
use crate::db::request::{Change, Request};
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Ids};
use crate::http::kit::shown;

/// The operations.
pub fn operations() -> Vec<Operation> {
    const KEYS: &str = "/api/admin/users/{id}/keys";
    const SESSIONS: &str = "/api/admin/users/{id}/sessions";
    let operations = vec![
        Operation::get(KEYS, "listKeysOfUser", keys)
            .tagged("users", "List an account's API keys")
            .about("Revoked and ended ones too, for a year; at most the 1000 newest.")
            .answers::<Vec<Key>>(200, "Its keys, the newest first."),
        Operation::delete("/api/admin/users/{id}/keys/{key}", "revokeKeyOfUser", revoke_key)
            .tagged("users", "Revoke an account's API key")
            .answers_nothing(204, "It opens nothing any more."),
        Operation::get(SESSIONS, "listSessionsOfUser", sessions)
            .tagged("users", "List an account's sessions")
            .about("At most the 500 last seen.")
            .answers::<Vec<SessionShown>>(200, "Its sessions, the last seen first."),
        Operation::delete(
            "/api/admin/users/{id}/sessions/{session}",
            "endSessionOfUser",
            end_session,
        )
        .tagged("users", "End an account's session")
        .answers_nothing(204, "It has ended."),
        Operation::post("/api/admin/users/{id}/revoke-all", "revokeAllOfUser", revoke_all)
            .tagged("users", "End an account's sessions and links, and revoke its API keys")
            .about(
                "For an account whose access may be in wrong hands. Keys are revoked for good, links to recordings that it made end. The password stays: set \
                 another one too, if it may be known.",
            )
            .answers::<AccessEnded>(200, "No session, no key and no link to a recording of it opens anything any more; its password does."),
        Operation::delete("/api/admin/users/{id}/totp", "resetSecondFactor", reset_factor)
            .tagged("users", "Remove an account's second factor")
            .about(
                "For somebody who lost both app and recovery codes: see that it is that person who asks. Your own is \
                 removed by `DELETE /api/auth/totp`.",
            )
            .session_only()
            .fresh()
            .answers_nothing(204, "Its log-ins ask for the password only."),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Staff).problems(&[403]))
        .collect()
}

/// What was ended.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessEnded {
    message: String,
    /// How many.
    sessions_ended: usize,
    /// How many.
    keys_revoked: usize,
}

/// Refuses staff what concerns administrators and other staff.
fn check_may(caller: &Caller, user: &UserRow) -> Result<(), Problem> {
    if caller.role == Role::Admin || user.role == Role::User.as_str() {
        return Ok(());
    }
    Err(Problem::forbidden(
        Code::RoleNotAllowed,
        format!(
            "Staff does this for sellers only, and this account is {}. Ask an administrator.",
            user.role
        ),
    ))
}

/// The account, to look at.
async fn read(api: &Api, caller: &Caller, id: i32) -> Result<UserId, Problem> {
    let row = api.store.user(caller.reach(), UserId(id)).await?;
    let row = row.ok_or_else(|| Problem::not_found("user"))?;
    check_may(caller, &row)?;
    Ok(row.id)
}

/// The account, which nobody changes meanwhile: neither key nor session is made.
async fn lock(request: &Request, caller: &Caller, id: UserId) -> Result<UserRow, Problem> {
    let row = request.lock_user(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("user"))?;
    check_may(caller, &row)?;
    Ok(row)
}

fn user_of(id: i64) -> Result<UserId, Problem> {
    let id = i32::try_from(id).map_err(|_| Problem::not_found("user"))?;
    Ok(UserId(id))
}

async fn keys(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Vec<Key>>, Problem> {
    let user = read(&api, &caller, id).await?;
    let keys = api.store.keys(caller.reach(), user).await?;
    Ok(Json(keys.into_iter().map(Key::of).collect()))
}

async fn sessions(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Vec<SessionShown>>, Problem> {
    let user = read(&api, &caller, id).await?;
    let rows = api.store.sessions(caller.reach(), user).await?.into_iter();
    Ok(Json(
        rows.map(|row| SessionShown::of(row, &caller)).collect(),
    ))
}

async fn revoke_key(
    State(api): State<Api>,
    caller: Caller,
    Ids([id, key]): Ids<2>,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, &caller, user_of(id)?).await?;
    let revoked = request.revoke_key(user.id, key).await?;
    let revoked = revoked.ok_or_else(|| Problem::not_found("key that is not revoked"))?;
    note(
        &request,
        &caller,
        &user,
        ("revoke", "key", key.to_string()),
        shown(&Key::of(revoked)),
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_session(
    State(api): State<Api>,
    caller: Caller,
    Ids([id, session]): Ids<2>,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, &caller, user_of(id)?).await?;
    if !request.end_session(user.id, session).await? {
        return Err(Problem::not_found("session"));
    }
    note(
        &request,
        &caller,
        &user,
        ("end", "session", session.to_string()),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_all(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<AccessEnded>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, &caller, UserId(id)).await?;
    let (sessions_ended, keys_revoked) = take_access(&request, user.id).await?;
    note(
        &request,
        &caller,
        &user,
        ("revoke_all", "user", id.to_string()),
        Some(json!({ "sessionsEnded": sessions_ended, "keysRevoked": keys_revoked })),
    )
    .await?;
    request.commit().await?;
    Ok(Json(AccessEnded {
        message: format!(
            "{sessions_ended} sessions of {} have ended, {keys_revoked} API keys are revoked, links to recordings are ended.",
            user.username
        ),
        sessions_ended,
        keys_revoked,
    }))
}

/// Ends all sessions and all links to recordings, and revokes all keys of an account that was locked or changed; how many
/// sessions and keys.
pub async fn take_access(request: &Request, user: UserId) -> Result<(usize, usize), Problem> {
    let sessions = request.end_sessions_of(user).await?;
    let keys = request.revoke_keys_of(user).await?;
    request.end_links_of(user).await?;
    Ok((sessions, keys))
}

async fn reset_factor(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    if UserId(id) == caller.user_id {
        return Err(Problem::forbidden(
            Code::OwnAccount,
            "Remove your own second factor by DELETE /api/auth/totp.",
        ));
    }
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, &caller, UserId(id)).await?;
    if !request.remove_factor(user.id).await? {
        return Err(Problem::not_found("second factor"));
    }
    note(
        &request,
        &caller,
        &user,
        ("reset", "second_factor", id.to_string()),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes it where the account, if it is a seller's, can read it too.
async fn note(
    request: &Request,
    caller: &Caller,
    user: &UserRow,
    (action, object_type, object_id): (&'static str, &'static str, String),
    after: Option<serde_json::Value>,
) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: (user.role == Role::User.as_str()).then_some(user.id),
            action,
            object_type,
            object_id,
            before: None,
            after,
            reason: None,
        })
        .await?;
    Ok(())
}
