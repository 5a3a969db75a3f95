//! Grants: which sellers may send calls to a client that is not open to all.
//!
//! A grant counts from the next decision on. Links stay when it is taken; they are passed over as `not_granted`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::catalogue::store::grants::GrantRow;
use crate::db::request::Request;
use crate::domain::{ClientId, UserId};
use crate::http::api::Api;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Ids};
use crate::http::kit::scope::{UserBrief, note};

/// The operations on grants.
pub fn operations() -> Vec<Operation> {
    const ALL: &str = "/api/admin/clients/{id}/grants";
    const ONE: &str = "/api/admin/clients/{id}/grants/{user}";
    let operations = [
        Operation::get(ALL, "listGrants", list)
            .tagged("clients", "List the sellers that may send calls to a client")
            .about("They count while the client's `access` is `granted`.")
            .answers::<Vec<Grant>>(200, "The grants, by name of the seller."),
        Operation::put(ONE, "grantClient", grant)
            .tagged("clients", "Let a seller send calls to a client")
            .about("Doing it twice changes nothing more.")
            .answers::<Grant>(200, "The grant."),
        Operation::delete(ONE, "takeGrant", take)
            .tagged("clients", "Let a seller send no more calls to a client")
            .about(
                "While the client's `access` is `granted`, the seller's links to it take no calls from the next decision \
                 on; calls under way go on.",
            )
            .answers_nothing(204, "It is gone."),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Staff))
        .collect()
}

/// That a seller may send calls to a client.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    user: UserBrief,
    /// Name of who gave it.
    granted_by: String,
    granted_at: Moment,
}

impl Grant {
    fn of(row: GrantRow) -> Self {
        Self {
            user: UserBrief {
                id: row.user_id.0,
                username: row.username,
            },
            granted_by: row.granted_by,
            granted_at: Moment(row.granted_at),
        }
    }
}

/// Client and seller in the path.
fn in_path(Ids([client, user]): Ids<2>) -> Result<(ClientId, UserId), Problem> {
    let id_of = |id| i32::try_from(id).map_err(|_| Problem::not_found("grant"));
    Ok((ClientId(id_of(client)?), UserId(id_of(user)?)))
}

async fn check_client(request: &Request, client: ClientId) -> Result<(), Problem> {
    let there = request.client(client).await?;
    there.map(drop).ok_or_else(|| Problem::not_found("client"))
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Vec<Grant>>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    check_client(&request, ClientId(id)).await?;
    let grants = request.grants(ClientId(id)).await?;
    request.commit().await?;
    Ok(Json(grants.into_iter().map(Grant::of).collect()))
}

async fn grant(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
) -> Result<Json<Grant>, Problem> {
    let (client, seller) = in_path(ids)?;
    let request = api.store.request(caller.reach()).await?;
    if request.lock_client_status(client.0).await?.is_none() {
        return Err(Problem::not_found("client"));
    }
    if !request.lock_seller(seller).await? {
        return Err(Problem::not_found("seller"));
    }
    if request.grant(client, seller, &caller.username).await? {
        note(
            &request,
            &caller,
            seller,
            "grant",
            ("client", client.0),
            None,
            None,
        )
        .await?;
    }
    let grants = request.grants(client).await?;
    request.commit().await?;
    let grant = grants.into_iter().find(|grant| grant.user_id == seller);
    Ok(Json(Grant::of(grant.ok_or_else(Problem::internal)?)))
}

async fn take(State(api): State<Api>, caller: Caller, ids: Ids<2>) -> Result<StatusCode, Problem> {
    let (client, seller) = in_path(ids)?;
    let request = api.store.request(caller.reach()).await?;
    if !request.take_grant(client, seller).await? {
        return Err(Problem::not_found("grant"));
    }
    note(
        &request,
        &caller,
        seller,
        "take_grant",
        ("client", client.0),
        None,
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
