//! Claims of sellers to numbers, which staff confirms or refuses. The rest of DIDs is in [`super::dids`].

use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;

use super::dids::{self, Did};
use super::usage::{REASON, reason};
use crate::db::request::{Change, Request};
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::etag::Tagged;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Id;
use crate::http::kit::scope::Owned;
use crate::http::kit::shown;

/// The operations of staff on claims.
pub fn operations() -> Vec<Operation> {
    let operations = vec![
        Operation::post("/api/admin/dids/{id}/confirm", "confirmDid", confirm)
            .tagged("dids", "Confirm that a number is its seller's")
            .about("Of a DID that is `pending`: it is active from the next call on. Of another: 409, `did_not_pending`.")
            .body_if_any(&REASON)
            .example(r#"{"reason": "Contract with the carrier seen"}"#)
            .answers::<Owned<Did>>(200, "The DID, active.")
            .problems(&[409]),
        Operation::post("/api/admin/dids/{id}/refuse", "refuseDid", refuse)
            .tagged("dids", "Refuse a seller a number")
            .about(
                "Of a DID that is `pending`: it is deleted, so that whose number it is can add it. The seller finds the \
                 reason in its audit log. Of another: 409, `did_not_pending`.",
            )
            .body_if_any(&REASON)
            .example(r#"{"reason": "The number is another company's"}"#)
            .answers_nothing(204, "It is gone.")
            .problems(&[409]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Staff))
        .collect()
}

async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
) -> Result<Tagged<Owned<Did>>, Problem> {
    let why = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (owner, before) = lock_pending(&request, &caller, id).await?;
    let did = dids::seen(&caller, request.confirm_did(id).await?);
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(owner),
            action: "confirm",
            object_type: "did",
            object_id: id.to_string(),
            before: shown(&before),
            after: shown(&did),
            reason: why.as_deref(),
        })
        .await?;
    request.commit().await?;
    Ok(Tagged(did.object.tag(), did))
}

async fn refuse(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
) -> Result<StatusCode, Problem> {
    let why = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (owner, did) = lock_pending(&request, &caller, id).await?;
    request.delete_did(id).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(owner),
            action: "refuse",
            object_type: "did",
            object_id: id.to_string(),
            before: shown(&did),
            after: None,
            reason: why.as_deref(),
        })
        .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn lock_pending(
    request: &Request,
    caller: &Caller,
    id: i32,
) -> Result<(UserId, Owned<Did>), Problem> {
    let locked = dids::lock(request, caller, id).await?;
    if locked.1.object.is_pending() {
        return Ok(locked);
    }
    Err(Problem::conflict(
        Code::DidNotPending,
        "This DID does not wait to be confirmed.",
    ))
}
