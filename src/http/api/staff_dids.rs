//! DIDs as staff sees them: of all sellers; given, confirmed, refused and taken away.
//!
//! Only staff is told who has a number.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Access, Caller};
use super::body::Input;
use super::code::Code;
use super::dids::{ALL_STATUSES, Did, E164, STATUS_PARAMETER};
use super::etag::{Tagged, created_below};
use super::form::{Field, Form, Rule, Unknown};
use super::operation::Operation;
use super::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use super::usage::{REASON, UserBrief, reason};
use super::{Api, Problem, quotas, shown};
use crate::domain::{DialledNumber, UserId};
use crate::store::dids::{DidFilter, OwnedDid, is_number_taken};
use crate::store::quotas::Kind;
use crate::store::request::{Change, Request};

/// The operations of staff on DIDs.
pub fn operations() -> Vec<Operation> {
    const ONE: &str = "/api/admin/dids/{id}";
    let operations = vec![
        Operation::get("/api/admin/dids", "listAllDids", list)
            .heavy()
            .tagged("dids", "List the DIDs of all sellers")
            .about("`status=pending` are those that wait to be confirmed.")
            .query(&PAGING)
            .query(&[STATUS_PARAMETER])
            .query(&FILTERS)
            .answers::<Listed<OwnedDidView>>(200, "The DIDs, by id.")
            .problems(&[400]),
        Operation::post("/api/admin/dids", "giveDid", give)
            .tagged("dids", "Give a seller a DID")
            .about("It takes calls at once, whatever `dids.claims` says. If it is a DID already, 409 says whose.")
            .body(&GIVEN_DID)
            .example(r#"{"userId": 3, "number": "+18005550101", "description": "Landing page A"}"#)
            .answers::<OwnedDidView>(201, "The new DID.")
            .problems(&[409]),
        Operation::get(ONE, "getAnyDid", read)
            .tagged("dids", "Read a DID of any seller")
            .answers::<OwnedDidView>(200, "The DID."),
        Operation::delete(ONE, "takeDid", take)
            .tagged("dids", "Take a DID from its seller")
            .about("Its calls stay in the log; the next call to it is refused with `did_not_found`.")
            .answers_nothing(204, "It is gone.")
            .problems(&[412]),
        Operation::post("/api/admin/dids/{id}/confirm", "confirmDid", confirm)
            .tagged("dids", "Confirm that a number is its seller's")
            .about("Of a DID that is `pending`: it is active from the next call on. Of another: 409, `did_not_pending`.")
            .body_if_any(&REASON)
            .example(r#"{"reason": "Contract with the carrier seen"}"#)
            .answers::<OwnedDidView>(200, "The DID, active.")
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

const FILTERS: [Parameter; 2] = [
    parameter(
        "user_id",
        ParameterKind::Integer,
        "Only DIDs of this seller.",
    ),
    parameter(
        "number",
        ParameterKind::Text,
        "Only the DID with this number, in any spelling; a leading plus is percent-encoded (%2B).",
    ),
];

static GIVEN_DID: Form = Form {
    name: "GivenDid",
    fields: &[
        Field::integer("userId", 1, i32::MAX as i64)
            .required()
            .about("The seller."),
        Field::text("number", 1, 50, E164).required(),
        Field::text("description", 0, 255, Rule::Lines).nullable(),
        Field::choice("status", &["active", "inactive"]).default("\"active\""),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenDid {
    user_id: i32,
    number: String,
    description: Option<String>,
    status: String,
}

/// A number that callers dial, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OwnedDid")]
pub struct OwnedDidView {
    #[serde(flatten)]
    did: Did,
    user: UserBrief,
}

impl OwnedDidView {
    fn of(row: OwnedDid) -> Self {
        Self {
            did: Did::of(row.did),
            user: UserBrief {
                id: row.owner.0,
                username: row.username,
            },
        }
    }

    fn tagged(self) -> Tagged<Self> {
        Tagged(self.did.tag(), self)
    }
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<Listed<OwnedDidView>>, Problem> {
    let page = query.page(20)?;
    let number = query.checked("number", DialledNumber::MAX_CHARS)?;
    let key = number.map(|text| DialledNumber::from_untrusted(text).key());
    if key == Some(None) {
        return Ok(Json(page.of(Vec::new(), 0)));
    }
    let filter = DidFilter {
        status: query.choice("status", ALL_STATUSES)?,
        user_id: query.id("user_id"),
        key: key.as_ref().and_then(Option::as_deref),
    };
    let (rows, total) = api
        .store
        .all_dids(&filter, page.per_page, page.offset())
        .await?;
    let dids = rows.into_iter().map(OwnedDidView::of).collect();
    Ok(Json(page.of(dids, total)))
}

async fn give(
    State(api): State<Api>,
    caller: Caller,
    Input(given): Input<GivenDid>,
) -> Result<Response, Problem> {
    let owner = UserId(given.user_id);
    let request = api.store.request(caller.reach()).await?;
    if !request.lock_seller(owner).await? {
        return Err(Problem::field("userId", "There is no such seller."));
    }
    quotas::admit(&api, &request, owner, Kind::Dids).await?;
    let created = request
        .create_did(
            owner,
            &given.number,
            given.description.as_deref(),
            &given.status,
        )
        .await;
    let row = match created {
        Ok(row) => request.own_change(row.id).await?,
        Err(error) if is_number_taken(&error) => {
            drop(request);
            return Err(taken(&api, &given.number).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let did = OwnedDidView::of(row);
    note(&request, &caller, "create", &did, None, shown(&did), None).await?;
    request.commit().await?;
    Ok(created_below(did.did.id, did.tagged()))
}

/// Who has a number.
async fn taken(api: &Api, number: &str) -> Result<Problem, Problem> {
    let key = DialledNumber::from_untrusted(number).key();
    let filter = DidFilter {
        key: key.as_deref(),
        ..DidFilter::default()
    };
    let (rows, _) = api.store.all_dids(&filter, 1, 0).await?;
    let message = match rows.first() {
        Some(held) => format!(
            "{number} is DID {} already: {}, {}, of seller {} ({}).",
            held.did.id, held.did.number, held.did.status, held.owner.0, held.username
        ),
        // Deleted this moment.
        None => format!("{number} was a DID until this moment. Try again."),
    };
    Ok(Problem::conflict(Code::NumberTaken, message))
}

async fn read(State(api): State<Api>, Id(id): Id) -> Result<Tagged<OwnedDidView>, Problem> {
    let row = api.store.any_did(id).await?;
    Ok(OwnedDidView::of(row.ok_or_else(|| Problem::not_found("DID"))?).tagged())
}

async fn take(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let (owner, did) = lock(&request, id).await?;
    did.did.tag().check(&headers)?;
    request.delete_did(owner, id).await?;
    note(&request, &caller, "delete", &did, shown(&did), None, None).await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
) -> Result<Tagged<OwnedDidView>, Problem> {
    let why = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (_, before) = lock_pending(&request, id).await?;
    let did = OwnedDidView::of(request.confirm_did(id).await?);
    let (old, new) = (shown(&before), shown(&did));
    note(&request, &caller, "confirm", &did, old, new, why.as_deref()).await?;
    request.commit().await?;
    Ok(did.tagged())
}

async fn refuse(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
) -> Result<StatusCode, Problem> {
    let why = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (owner, did) = lock_pending(&request, id).await?;
    request.delete_did(owner, id).await?;
    let old = shown(&did);
    note(&request, &caller, "refuse", &did, old, None, why.as_deref()).await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn lock(request: &Request, id: i32) -> Result<(UserId, OwnedDidView), Problem> {
    let row = request.lock_any_did(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("DID"))?;
    Ok((row.owner, OwnedDidView::of(row)))
}

async fn lock_pending(request: &Request, id: i32) -> Result<(UserId, OwnedDidView), Problem> {
    let locked = lock(request, id).await?;
    if locked.1.did.is_pending() {
        return Ok(locked);
    }
    Err(Problem::conflict(
        Code::DidNotPending,
        "This DID does not wait to be confirmed.",
    ))
}

/// Notes what staff did to a seller's DID, where the seller finds it too.
async fn note(
    request: &Request,
    caller: &Caller,
    action: &'static str,
    did: &OwnedDidView,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
    reason: Option<&str>,
) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(UserId(did.user.id)),
            action,
            object_type: "did",
            object_id: did.did.id.to_string(),
            before,
            after,
            reason,
        })
        .await?;
    Ok(())
}
