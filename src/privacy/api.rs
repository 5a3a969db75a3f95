//! Erasures of callers and of sellers: asked for here, carried out by the daemon, reported here.
//!
//! Invariant: the number that is to be erased is kept nowhere, neither in the request nor in the audit log.

use crate::http::kit::code::Code;
use crate::http::kit::cursor::{ListPart, Mark, Ordered, Place};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{ErasureFilter, ErasureRow, NewErasure, STATES, Sought, Unfit, is_erasable};
use crate::db::request::{Change, Request};
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Ids, Parameter, ParameterKind, Query, parameter};

/// The operations on erasures.
pub fn operations() -> Vec<Operation> {
    const ALL: &str = "/api/admin/erasures";
    let operations = vec![
        Operation::post(ALL, "eraseCaller", erase_caller)
            .tagged("erasures", "Erase a caller")
            .about(
                "Removes a number and its caller's names from all tables, and deletes recordings and transcripts of its \
                 calls, but for those on legal hold. In the call log a pseudonym takes the place of the number, the same \
                 in all its calls, so that sums and counts of repeated callers stay right. Spellings with blanks, dashes, \
                 a plus, 00 or 011 before it are the same number; others, such as the national one, are named in \
                 `alsoAs`. The daemon does it in steps; a call under way is erased when it has ended. `dryRun` counts \
                 and changes nothing. The number is kept nowhere.",
            )
            .body(&CALLER_ERASURE)
            .example(r#"{"number": "+14155550001", "alsoAs": ["4155550001"], "reason": "Asked for by letter of 3 May", "dryRun": true}"#)
            .answers::<Erasure>(202, "The request; its report grows as the daemon works."),
        Operation::get(ALL, "listErasures", list)
            .tagged("erasures", "List erasures")
            .query(&FILTERS)
            .answers::<ListPart<Erasure>>(200, "Requests with their reports, newest first unless sorted otherwise.")
            .problems(&[400]),
        Operation::get("/api/admin/erasures/{id}", "getErasure", read)
            .tagged("erasures", "Read the report of an erasure")
            .answers::<Erasure>(200, "The request, how far it is, and its counts."),
        Operation::post("/api/admin/users/{id}/erase", "eraseSeller", erase_seller)
            .tagged("erasures", "Erase a seller")
            .about(
                "Of an account that is suspended, else 409 `not_suspended`. Its name and e-mail address, sessions, API \
                 keys and DIDs go, also from the audit log; numbers in its call log become pseudonyms, names of callers \
                 are emptied, recordings are deleted but for those on legal hold. The account stays, without a name, so \
                 that sums stay right.",
            )
            .body(&SELLER_ERASURE)
            .example(r#"{"reason": "Contract ended, deletion asked for", "dryRun": true}"#)
            .answers::<Erasure>(202, "The request; its report grows as the daemon works.")
            .problems(&[403, 409]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Admin))
        .collect()
}

const NUMBER: Rule = Rule::Check {
    expected: "a telephone number of 6 to 18 digits",
    pattern: r"^[+]?[0-9 ()./-]+$",
    check: is_erasable,
};
const REASON: Field = Field::line("reason", 1, 500)
    .required()
    .about("Why, without the number itself: it is kept.");
const DRY_RUN: Field = Field::flag("dryRun")
    .default("false")
    .about("Counts what would be changed, and changes nothing.");

static CALLER_ERASURE: Form = Form {
    name: "CallerErasure",
    fields: &[
        Field::text("number", 6, 50, NUMBER).required(),
        Field::words("alsoAs", 5)
            .default("[]")
            .about("Other spellings of the same number, such as the national one."),
        REASON,
        DRY_RUN,
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static SELLER_ERASURE: Form = Form {
    name: "SellerErasure",
    fields: &[REASON, DRY_RUN],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

const SORTS: &[&str] = &["-createdAt", "createdAt"];

const FILTERS: [Parameter; 5] = [
    parameter(
        "q",
        ParameterKind::Text,
        "Only those with this text in pseudonym, reason or error, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "Newest first unless given; without the minus oldest first.",
    ),
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before. Without it, the newest requests.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Requests on a page, at most 200; 50 unless said.",
    ),
    parameter(
        "state",
        ParameterKind::Choice(&STATES),
        "Only requests of this state.",
    ),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallerErasure {
    number: String,
    also_as: Vec<String>,
    reason: String,
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SellerErasure {
    reason: String,
    dry_run: bool,
}

/// What became of the recordings of an erasure.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasedRecordings {
    /// Deleted, with transcript.
    deleted: i64,
    /// Still to be deleted, by a daemon that reaches the storage.
    left: i64,
    /// On legal hold: the ids of the first thousand. They are deleted when the hold ends.
    held: Vec<i64>,
}

/// A request for an erasure, and its report.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    id: i64,
    /// `caller` or `seller`.
    kind: String,
    /// The seller's account.
    user_id: Option<i32>,
    /// What stands in place of the number, or of the account's name. It cannot be turned back.
    pseudonym: String,
    dry_run: bool,
    reason: String,
    /// The account that asked.
    requested_by: Option<i32>,
    /// `queued`, `running`, `waiting` (see `waitsFor`) or `done`.
    state: String,
    /// `calls` under way that must end first, or `recordings` to be deleted.
    waits_for: Option<String>,
    /// What went wrong last; it is tried again.
    error: Option<String>,
    created_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    /// After the end: until when calls are erased whose end arrives late, as after an outage. null: no longer, or not yet.
    watched_until: Option<Moment>,
    /// How often the tables were read: until nothing is found any more.
    passes: i32,
    /// Rows changed by table; of a dry run, rows that would be.
    rows: Value,
    recordings: ErasedRecordings,
    /// What the daemon cannot reach, and what to do about it.
    not_reached: Vec<&'static str>,
}

const NOT_REACHED: [&str; 5] = [
    "Backups and archives of the write-ahead log hold what was there when they were made: keep them no longer than \
     needed, and repeat this erasure after one is restored.",
    "Files of the database hold old versions of changed rows until they are vacuumed.",
    "Asterisk's own logs, CDR and CEL, and the logs of carriers and proxies.",
    "Exports and answers of the API that others took.",
    "Ends of calls that a stopped daemon keeps on its disk (ends-to-settle.jsonl) until it is started again: what arrives \
     before `watchedUntil` is erased, and what is older than a day has forgotten its caller.",
];

impl Erasure {
    fn of(row: ErasureRow) -> Self {
        Self {
            id: row.erasure_id,
            kind: row.kind,
            user_id: row.account_id,
            pseudonym: row.pseudonym,
            dry_run: row.dry_run,
            reason: row.reason,
            requested_by: row.requested_by,
            state: row.state,
            waits_for: row.waits_for,
            error: row.error,
            created_at: Moment(row.created_at),
            started_at: row.started_at.map(Moment),
            finished_at: row.finished_at.map(Moment),
            watched_until: row.watched_until.map(Moment),
            passes: row.pass,
            rows: row.counts,
            recordings: ErasedRecordings {
                deleted: row.recordings_deleted,
                left: row.recordings_left,
                held: row.recordings_held,
            },
            not_reached: NOT_REACHED.to_vec(),
        }
    }

    fn accepted(self) -> Response {
        let mut response = (StatusCode::ACCEPTED, Json(&self)).into_response();
        let place = format!("/api/admin/erasures/{}", self.id);
        if let Ok(place) = HeaderValue::try_from(place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}

fn unfit(why: Unfit) -> Problem {
    match why {
        Unfit::Number => {
            Problem::field("number", "It must be a telephone number of 6 to 18 digits.")
        }
        Unfit::AlsoAs => Problem::field(
            "alsoAs",
            "Each must be a telephone number of 6 to 18 digits.",
        ),
        Unfit::Reason => Problem::field("reason", "Leave the number out: the reason is kept."),
        Unfit::NoKey => {
            tracing::error!("the kernel gives no randomness");
            Problem::internal()
        }
    }
}

/// The report of an erasure, as the API tells it.
pub fn report(row: ErasureRow) -> Value {
    crate::http::kit::shown(&Erasure::of(row)).unwrap_or_default()
}

/// What the audit log says of a request.
pub fn noted(row: &ErasureRow) -> Value {
    serde_json::json!({
        "kind": row.kind, "userId": row.account_id, "pseudonym": row.pseudonym, "dryRun": row.dry_run,
    })
}

async fn erase_caller(
    State(api): State<Api>,
    caller: Caller,
    Input(asked): Input<CallerErasure>,
) -> Result<Response, Problem> {
    let sought = Sought::caller(&asked.number, &asked.also_as, &asked.reason);
    let (sought, pseudonym) = sought.map_err(unfit)?;
    let request = api.store.request(caller.reach()).await?;
    let new = NewErasure {
        account: None,
        pseudonym: &pseudonym,
        dry_run: asked.dry_run,
        reason: &asked.reason,
        requested_by: Some(caller.user_id),
        sought: &sought,
    };
    begin(request, &caller, &new).await
}

/// Keeps a request, for the job to carry out.
async fn begin(
    request: Request,
    caller: &Caller,
    new: &NewErasure<'_>,
) -> Result<Response, Problem> {
    let row = request.create_erasure(new).await?;
    note(&request, caller, &row).await?;
    request.commit().await?;
    Ok(Erasure::of(row).accepted())
}

async fn erase_seller(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Input(asked): Input<SellerErasure>,
) -> Result<Response, Problem> {
    let id = UserId(id);
    let request = api.store.request(caller.reach()).await?;
    let account = request.lock_user(id).await?;
    let account = account.ok_or_else(|| Problem::not_found("user"))?;
    if account.role != "user" {
        return Err(Problem::forbidden(
            Code::NotASeller,
            "This account is no seller's. Delete it instead.",
        ));
    }
    if account.status != "suspended" {
        return Err(Problem::conflict(
            Code::NotSuspended,
            "Suspend the account first: an active one makes new traces while old ones are erased.",
        ));
    }
    if !asked.dry_run && request.is_erased(id).await? {
        return Err(Problem::conflict(
            Code::ErasedAlready,
            "This account was erased, or is being erased.",
        ));
    }
    let (sought, pseudonym) = Sought::seller(id).map_err(unfit)?;
    let new = NewErasure {
        account: Some(id),
        pseudonym: &pseudonym,
        dry_run: asked.dry_run,
        reason: &asked.reason,
        requested_by: Some(caller.user_id),
        sought: &sought,
    };
    begin(request, &caller, &new).await
}

async fn read(State(api): State<Api>, Ids([id]): Ids<1>) -> Result<Json<Erasure>, Problem> {
    let row = api.store.erasure(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("erasure"))?;
    Ok(Json(Erasure::of(row)))
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<ListPart<Erasure>>, Problem> {
    let per_page = query.per_page(50)?;
    let order = Ordered::read(&query, Mark::ERASURES, SORTS)?;
    let filter = ErasureFilter {
        sort: order.sort,
        after: order.after.map(|place| place.id),
        state: query.choice("state", &STATES)?,
        text: query.checked("q", 100)?,
    };
    // One more than asked for tells whether there is another page.
    let rows = api.store.erasures(&filter, per_page + 1).await?;
    Ok(Json(ListPart::of(
        rows,
        per_page,
        None,
        |row| order.next(Place::of_id(row.erasure_id)),
        Erasure::of,
    )))
}

async fn note(request: &Request, caller: &Caller, erasure: &ErasureRow) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: None,
            action: "erase",
            object_type: "erasure",
            object_id: erasure.erasure_id.to_string(),
            before: None,
            after: Some(noted(erasure)),
            reason: Some(&erasure.reason),
        })
        .await?;
    Ok(())
}
