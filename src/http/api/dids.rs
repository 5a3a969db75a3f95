//! DIDs: a seller's numbers.
//!
//! Who may add one, and whether it works at once, says `dids.claims`. What a seller is told of a number that is a DID
//! already is the same whoever has it and however it fares, the seller itself included.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Access, Caller};
use super::body::{Input, given};
use super::etag::{Tag, Tagged};
use super::form::{Field, Form, Rule, Unknown};
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use super::{Api, Problem, note_own, shown};
use crate::domain::Claims;
use crate::domain::number::is_e164;
use crate::store::dids::{DidChange, DidRow, is_number_taken};

/// The operations on DIDs.
pub fn operations() -> Vec<Operation> {
    const ONE: &str = "/api/seller/dids/{id}";
    let operations = vec![
        Operation::get("/api/seller/dids", "listDids", list)
            .tagged("dids", "List your DIDs")
            .query(&PAGING)
            .query(&[STATUS_PARAMETER])
            .answers::<Listed<Did>>(200, "Your DIDs, by number.")
            .problems(&[400]),
        Operation::post("/api/seller/dids", "createDid", create)
            .tagged("dids", "Add a DID")
            .about(
                "A number is one DID, however it is spelt. By the daemon's configuration (`dids.claims`) it takes calls \
                 at once (`open`), or is `pending` and takes none until staff confirms it (`confirm`), or is given by \
                 staff alone (`staff`: 403, `given_by_staff`). A number that is a DID already is 409, `number_taken`, \
                 whoever has it.",
            )
            .body(&NEW_DID)
            .example(r#"{"number": "+18005550101", "description": "Landing page A"}"#)
            .answers::<Did>(201, "The new DID.")
            .problems(&[409]),
        Operation::get(ONE, "getDid", read)
            .tagged("dids", "Read a DID")
            .answers::<Did>(200, "The DID."),
        Operation::put(ONE, "updateDid", update)
            .tagged("dids", "Change a DID")
            .about(
                "The number cannot be changed: delete the DID and add another. The status of a DID that is `pending` \
                 changes only by staff: 409, `did_pending`.",
            )
            .body(&DID_CHANGE)
            .example(r#"{"status": "inactive"}"#)
            .answers::<Did>(200, "The changed DID.")
            .problems(&[409, 412]),
        Operation::delete(ONE, "deleteDid", delete)
            .tagged("dids", "Delete a DID")
            .about("Its calls stay in the log. One that is `pending` is claimed no more.")
            .answers_nothing(204, "It is gone.")
            .problems(&[412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Seller))
        .collect()
}

/// Most DIDs of a seller that are pending: whoever claims more keeps numbers from others. Parallel requests may pass
/// it by a few.
const MAX_PENDING: i64 = 200;

/// What a DID can be set to.
const STATUSES: &[&str] = &["active", "inactive"];

/// What a DID can be.
pub(super) const ALL_STATUSES: &[&str] = &["active", "inactive", "pending"];

pub(super) const STATUS_PARAMETER: Parameter = parameter(
    "status",
    ParameterKind::Choice(ALL_STATUSES),
    "Only those of this status.",
);

pub(super) const E164: Rule = Rule::Check {
    expected: "a number in E.164 form: a plus, then 2 to 15 digits, the first not 0, without blanks or dashes",
    pattern: r"^\+[1-9][0-9]{1,14}$",
    check: is_e164,
};

static NEW_DID: Form = Form {
    name: "NewDid",
    fields: &[
        Field::text("number", 1, 50, E164).required(),
        Field::text("description", 0, 255, Rule::Lines).nullable(),
        Field::choice("status", STATUSES).default("\"active\""),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static DID_CHANGE: Form = Form {
    name: "DidChange",
    fields: &[
        Field::text("description", 0, 255, Rule::Lines).nullable(),
        Field::choice("status", STATUSES),
    ],
    unknown: Unknown::Drop,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
struct NewDid {
    number: String,
    description: Option<String>,
    status: String,
}

#[derive(Debug, Deserialize)]
struct ChangedDid {
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    status: Option<String>,
}

/// A number that callers dial.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Did {
    pub(super) id: i32,
    number: String,
    /// `active`, `inactive`, or `pending`: not confirmed yet.
    status: String,
    description: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

impl Did {
    pub(super) fn of(row: DidRow) -> Self {
        Self {
            id: row.id,
            number: row.number,
            status: row.status,
            description: row.description,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.status == "pending"
    }

    pub(super) fn tag(&self) -> Tag {
        Tag::of(&[i64::from(self.id), self.updated_at.0.as_microsecond()])
    }
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Listed<Did>>, Problem> {
    let page = query.page(20)?;
    let status = query.choice("status", ALL_STATUSES)?;
    let (dids, total) = api
        .store
        .dids(caller.user_id, status, page.per_page, page.offset())
        .await?;
    Ok(Json(
        page.of(dids.into_iter().map(Did::of).collect(), total),
    ))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<NewDid>,
) -> Result<Response, Problem> {
    // Before anything is looked at: whether the number is taken is not said here.
    let status = match api.settings.claims {
        Claims::Open => new.status.as_str(),
        Claims::Confirm => "pending",
        Claims::Staff => {
            return Err(Problem::forbidden(
                "given_by_staff",
                "Numbers are given by the operator's staff here. Ask them for it.",
            ));
        }
    };
    let request = api.store.request(caller.reach()).await?;
    if status == "pending" && request.pending_dids(caller.user_id).await? >= MAX_PENDING {
        return Err(Problem::conflict(
            "too_many_pending",
            format!("{MAX_PENDING} of your numbers wait to be confirmed. Add more when some are."),
        ));
    }
    let created = request
        .create_did(
            caller.user_id,
            &new.number,
            new.description.as_deref(),
            status,
        )
        .await;
    let did = match created {
        Ok(row) => Did::of(row),
        Err(error) if is_number_taken(&error) => {
            return Err(Problem::conflict(
                "number_taken",
                format!(
                    "{} is a DID already. If it is yours to use, ask the operator's staff.",
                    new.number
                ),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    note_own(
        &request,
        &caller,
        "create",
        ("did", did.id),
        None,
        shown(&did),
    )
    .await?;
    request.commit().await?;
    Ok((StatusCode::CREATED, Tagged(did.tag(), did)).into_response())
}

async fn read(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Tagged<Did>, Problem> {
    let row = api.store.did(caller.user_id, id).await?;
    let did = Did::of(row.ok_or_else(|| Problem::not_found("DID"))?);
    Ok(Tagged(did.tag(), did))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedDid>,
) -> Result<Tagged<Did>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let row = request.lock_did(caller.user_id, id).await?;
    let before = Did::of(row.ok_or_else(|| Problem::not_found("DID"))?);
    before.tag().check(&headers)?;
    if before.is_pending() && change.status.is_some() {
        return Err(Problem::conflict(
            "did_pending",
            "This DID waits to be confirmed by the operator's staff. Until then its status stays.",
        ));
    }
    let row = request
        .update_did(
            caller.user_id,
            id,
            &DidChange {
                description: change.description.as_ref().map(Option::as_deref),
                status: change.status.as_deref(),
            },
        )
        .await?;
    let did = Did::of(row);
    note_own(
        &request,
        &caller,
        "update",
        ("did", id),
        shown(&before),
        shown(&did),
    )
    .await?;
    request.commit().await?;
    Ok(Tagged(did.tag(), did))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let row = request.lock_did(caller.user_id, id).await?;
    let before = Did::of(row.ok_or_else(|| Problem::not_found("DID"))?);
    before.tag().check(&headers)?;
    request.delete_did(caller.user_id, id).await?;
    note_own(
        &request,
        &caller,
        "delete",
        ("did", id),
        shown(&before),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
