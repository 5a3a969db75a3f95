//! DIDs: sellers' numbers, for the seller and for staff.
//!
//! Who may add one, and whether it works at once, says `dids.claims`. What a seller is told of a number that is a DID
//! already is the same whoever has it and however it fares, the seller itself included.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounts::api::quotas;
use crate::accounts::store::quotas::Kind;
use crate::catalogue::store::dids::{DidChange, DidFilter, DidRow, is_number_taken};
use crate::db::request::Request;
use crate::domain::number::is_e164;
use crate::domain::{Claims, DialledNumber, Role, UserId};
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged, created_below};
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::scope::{Owned, Side, note, owner_of_new, with_owner};
use crate::http::kit::{shown, words};

/// The operations on DIDs.
pub fn operations() -> Vec<Operation> {
    Side::BOTH.into_iter().flat_map(on).collect()
}

fn on(side: Side) -> Vec<Operation> {
    let all = side.pick("/api/seller/dids", "/api/admin/dids");
    let one = side.pick("/api/seller/dids/{id}", "/api/admin/dids/{id}");
    let listing = Operation::get(all, side.pick("listDids", "listAllDids"), list)
        .tagged(
            "dids",
            side.pick("List your DIDs", "List the DIDs of all sellers"),
        )
        .about(side.pick("", "`status=pending` are those that wait to be confirmed."))
        .query(&PAGING)
        .query(&FILTERS)
        .query(side.user_filter())
        .query(&[side.pick(SORT, SORT_ALL)])
        .problems(&[400]);
    let adding = Operation::post(all, side.pick("createDid", "giveDid"), create)
        .tagged("dids", side.pick("Add a DID", "Give a seller a DID"))
        .body(side.pick(&NEW_DID, &GIVEN_DID))
        .example(side.pick(
            r#"{"number": "+18005550101", "description": "Landing page A"}"#,
            r#"{"userId": 3, "number": "+18005550101", "description": "Landing page A"}"#,
        ))
        .about(side.pick(
            "A number is one DID, however it is spelt. By the daemon's configuration (`dids.claims`) it takes calls \
             at once (`open`), or is `pending` and takes none until staff confirms it (`confirm`), or is given by \
             staff alone (`staff`: 403, `given_by_staff`). A number that is a DID already is 409, `number_taken`, \
             whoever has it.",
            "It takes calls at once, whatever `dids.claims` says. If it is a DID already, 409 says whose.",
        ))
        .problems(&[409]);
    let reading = Operation::get(one, side.pick("getDid", "getAnyDid"), read)
        .tagged("dids", side.pick("Read a DID", "Read a DID of any seller"));
    let changing = Operation::put(one, side.pick("updateDid", "updateAnyDid"), update)
        .tagged("dids", side.pick("Change a DID", "Change a DID of any seller"))
        .about(
            "The number cannot be changed: delete the DID and add another. The status of a DID that is `pending` \
             changes only when staff confirms it: 409, `did_pending`.",
        )
        .body(side.pick(&DID_CHANGE, &ANY_DID_CHANGE))
        .example(r#"{"status": "inactive"}"#)
        .problems(&[409, 412]);
    let deleting = Operation::delete(one, side.pick("deleteDid", "takeDid"), delete)
        .tagged(
            "dids",
            side.pick("Delete a DID", "Take a DID from its seller"),
        )
        .about(side.pick(
            "Its calls stay in the log. One that is `pending` is claimed no more.",
            "Its calls stay in the log; the next call to it is refused with `did_not_found`.",
        ))
        .answers_nothing(204, "It is gone.")
        .problems(&[412]);
    let operations = match side {
        Side::Seller => vec![
            listing.answers::<Listed<Did>>(200, "Your DIDs, by number unless sorted otherwise."),
            adding.answers::<Did>(201, "The new DID."),
            reading.answers::<Did>(200, "The DID."),
            changing.answers::<Did>(200, "The changed DID."),
            deleting,
        ],
        Side::Staff => vec![
            listing.answers::<Listed<Owned<Did>>>(200, "The DIDs, by id unless sorted otherwise."),
            adding.answers::<Owned<Did>>(201, "The new DID."),
            reading.answers::<Owned<Did>>(200, "The DID."),
            changing.answers::<Owned<Did>>(200, "The changed DID."),
            deleting,
        ],
    };
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

/// Most DIDs of a seller that are pending: whoever claims more keeps numbers from others. Parallel requests may pass
/// it by a few.
pub(crate) const MAX_PENDING: i64 = 200;

/// What a DID can be set to.
const STATUSES: &[&str] = &["active", "inactive"];

/// What a DID can be.
const ALL_STATUSES: &[&str] = &["active", "inactive", "pending"];

const FILTERS: [Parameter; 5] = [
    parameter(
        "status",
        ParameterKind::Choice(ALL_STATUSES),
        "Only those of this status.",
    ),
    parameter(
        "number",
        ParameterKind::Text,
        "Only the DID with this number, in any spelling; a leading plus is percent-encoded (%2B).",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only those with this text in number or description, at most 100 characters.",
    ),
    parameter(
        "assigned",
        ParameterKind::Choice(&["true", "false"]),
        "Only those that are tied to a campaign, or to none.",
    ),
    parameter(
        "campaign_id",
        ParameterKind::Integer,
        "Only those that are tied to this campaign.",
    ),
];

const SORTS: &[&str] = &[
    "number",
    "-number",
    "createdAt",
    "-createdAt",
    "updatedAt",
    "-updatedAt",
    "id",
    "-id",
];
const SORT: Parameter = parameter(
    "sort",
    ParameterKind::Choice(SORTS),
    "The order; with a minus the other way round. By number unless given.",
);
const SORT_ALL: Parameter = parameter(
    "sort",
    ParameterKind::Choice(SORTS),
    "The order; with a minus the other way round. By id unless given.",
);

pub(crate) const E164: Rule = Rule::Check {
    expected: "a number in E.164 form: a plus, then 2 to 15 digits, the first not 0, without blanks or dashes",
    pattern: r"^\+[1-9][0-9]{1,14}$",
    check: is_e164,
};

const NEW_FIELDS: [Field; 3] = [
    Field::text("number", 1, 50, E164).required(),
    Field::text("description", 0, 255, Rule::Lines).nullable(),
    Field::choice("status", STATUSES).default("\"active\""),
];

const CHANGE_FIELDS: &[Field] = &[
    Field::text("description", 0, 255, Rule::Lines).nullable(),
    Field::choice("status", STATUSES),
];

pub(crate) static NEW_DID: Form = Form {
    name: "NewDid",
    fields: &NEW_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static GIVEN_DID: Form = Form {
    name: "GivenDid",
    fields: &with_owner::<3, 4>(NEW_FIELDS),
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static DID_CHANGE: Form = Form {
    name: "DidChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Drop,
    at_least_one: true,
};

static ANY_DID_CHANGE: Form = Form {
    name: "AnyDidChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewDid {
    user_id: Option<i32>,
    pub(crate) number: String,
    pub(crate) description: Option<String>,
    pub(crate) status: String,
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
    pub(crate) id: i32,
    number: String,
    /// `active`, `inactive`, or `pending`: not confirmed yet.
    #[schemars(with = "words::DidStatus")]
    status: String,
    description: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

impl Did {
    fn of(row: DidRow) -> Self {
        Self {
            id: row.id,
            number: row.number,
            status: row.status,
            description: row.description,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.status == "pending"
    }

    pub(crate) fn tag(&self) -> Tag {
        Tag::of(&[i64::from(self.id), self.updated_at.0.as_microsecond()])
    }
}

/// A DID as a caller sees it.
pub(crate) fn seen(caller: &Caller, row: DidRow) -> Owned<Did> {
    let (owner, username) = (row.owner, row.username.clone());
    Owned::seen_by(caller, Did::of(row), owner, &username)
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Listed<Owned<Did>>>, Problem> {
    let page = query.page(20)?;
    let number = query.checked("number", DialledNumber::MAX_CHARS)?;
    let key = number.map(|text| DialledNumber::from_untrusted(text).key());
    if key == Some(None) {
        return Ok(Json(page.of(Vec::new(), 0)));
    }
    let filter = DidFilter {
        status: query.choice("status", ALL_STATUSES)?,
        user_id: query.only_id("user_id")?,
        key: key.as_ref().and_then(Option::as_deref),
        text: query.checked("q", 100)?,
        assigned: query.maybe("assigned")?,
        campaign_id: query.only_id("campaign_id")?,
    };
    let by_default = if caller.owner().is_some() {
        "number"
    } else {
        "id"
    };
    let sort = query.choice("sort", SORTS)?.unwrap_or(by_default);
    let (dids, total) = api
        .store
        .dids(caller.reach(), &filter, sort, page.bounds())
        .await?;
    let dids = dids.into_iter().map(|row| seen(&caller, row)).collect();
    Ok(Json(page.of(dids, total)))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<NewDid>,
) -> Result<Response, Problem> {
    // Before anything is looked at: whether the number is taken is not said here.
    let status = status_of_new(&api, &caller, &new.status)?;
    let request = api.store.request(caller.reach()).await?;
    let owner = owner_of_new(&request, &caller, new.user_id).await?;
    if status == "pending" && request.pending_dids(owner).await? >= MAX_PENDING {
        return Err(too_many_pending());
    }
    quotas::admit(&api, &request, owner, Kind::Dids).await?;
    let created = request
        .create_did(owner, &new.number, new.description.as_deref(), status)
        .await;
    let row = match created {
        Ok(row) => row,
        Err(error) if is_number_taken(&error) => {
            drop(request);
            return Err(taken(&api, &caller, &new.number).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let did = seen(&caller, row);
    let id = did.object.id;
    note(
        &request,
        &caller,
        owner,
        "create",
        ("did", id),
        None,
        shown(&did),
    )
    .await?;
    request.commit().await?;
    Ok(created_below(did.object.id, Tagged(did.object.tag(), did)))
}

pub(crate) fn too_many_pending() -> Problem {
    Problem::conflict(
        Code::TooManyPending,
        format!("{MAX_PENDING} of your numbers wait to be confirmed. Add more when some are."),
    )
}

/// What a seller is told of a number that is a DID already, whoever has it.
pub(crate) fn number_taken(number: &str) -> Problem {
    Problem::conflict(
        Code::NumberTaken,
        format!("{number} is a DID already. If it is yours to use, ask the operator's staff."),
    )
}

/// The status of a new DID: as staff says; a seller's claim as `dids.claims` says.
pub(crate) fn status_of_new<'a>(
    api: &Api,
    caller: &Caller,
    asked: &'a str,
) -> Result<&'a str, Problem> {
    if caller.role != Role::User {
        return Ok(asked);
    }
    match api.settings.claims {
        Claims::Open => Ok(asked),
        Claims::Confirm => Ok("pending"),
        Claims::Staff => Err(Problem::forbidden(
            Code::GivenByStaff,
            "Numbers are given by the operator's staff here. Ask them for it.",
        )),
    }
}

/// A number is a DID already: staff is told whose.
async fn taken(api: &Api, caller: &Caller, number: &str) -> Result<Problem, Problem> {
    if caller.role == Role::User {
        return Ok(number_taken(number));
    }
    let message = {
        let key = DialledNumber::from_untrusted(number).key();
        let filter = DidFilter {
            key: key.as_deref(),
            ..DidFilter::default()
        };
        let (rows, _) = api
            .store
            .dids(caller.reach(), &filter, "id", (1, 0))
            .await?;
        match rows.first() {
            Some(held) => format!(
                "{number} is DID {} already: {}, {}, of seller {} ({}).",
                held.id, held.number, held.status, held.owner.0, held.username
            ),
            // Deleted this moment.
            None => format!("{number} was a DID until this moment. Try again."),
        }
    };
    Ok(Problem::conflict(Code::NumberTaken, message))
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Tagged<Owned<Did>>, Problem> {
    let row = api.store.did(caller.reach(), id).await?;
    let did = seen(&caller, row.ok_or_else(|| Problem::not_found("DID"))?);
    Ok(Tagged(did.object.tag(), did))
}

/// Locks a DID for a change, and says whose it is.
pub(crate) async fn lock(
    request: &Request,
    caller: &Caller,
    id: i32,
) -> Result<(UserId, Owned<Did>), Problem> {
    let row = request.lock_did(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("DID"))?;
    Ok((row.owner, seen(caller, row)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedDid>,
) -> Result<Tagged<Owned<Did>>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let (owner, before) = lock(&request, &caller, id).await?;
    before.object.tag().check(&headers)?;
    if before.object.is_pending() && change.status.is_some() {
        return Err(Problem::conflict(
            Code::DidPending,
            "This DID waits to be confirmed by the operator's staff. Until then its status stays.",
        ));
    }
    let row = request
        .update_did(
            id,
            &DidChange {
                description: change.description.as_ref().map(Option::as_deref),
                status: change.status.as_deref(),
            },
        )
        .await?;
    let did = seen(&caller, row);
    let (old, new) = (shown(&before), shown(&did));
    note(&request, &caller, owner, "update", ("did", id), old, new).await?;
    request.commit().await?;
    Ok(Tagged(did.object.tag(), did))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let (owner, before) = lock(&request, &caller, id).await?;
    before.object.tag().check(&headers)?;
    request.delete_did(id).await?;
    note(
        &request,
        &caller,
        owner,
        "delete",
        ("did", id),
        shown(&before),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
