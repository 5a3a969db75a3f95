//! What calls use of their caps, and the levers of those who watch it: pause, resume, correct.
//!
//! A pause holds from the next decision on; calls under way go on. Pausing what is paused is no error and no
//! change.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::campaigns::ClientBrief;
use super::links::{self, Link};
use crate::catalogue::store::links::{LinkChange, LinkRow};
use crate::catalogue::store::usage::{UsageFilter, UsageRow};
use crate::db::request::{Change, Request};
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::body::{Input, read_optional};
use crate::http::kit::etag::Tagged;
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{
    Id, Ids, Listed, PAGING, Parameter, ParameterKind, Query, parameter,
};
use crate::http::kit::scope::UserBrief;
use crate::http::kit::{shown, words};

/// The operations on usage.
pub fn operations() -> Vec<Operation> {
    let reading = [
        Operation::get("/api/seller/campaigns/{id}/usage", "getCampaignUsage", of_campaign)
            .tagged("usage", "Read what a campaign's calls use of its caps")
            .access(Access::Seller)
            .answers::<CampaignUsage>(200, "The links of the campaign, by `forwardingPriority`."),
        Operation::get("/api/admin/campaigns/{id}/usage", "getAnyCampaignUsage", of_campaign)
            .tagged("usage", "Read what the calls of any seller's campaign use of its caps")
            .access(Access::Staff)
            .answers::<CampaignUsage>(200, "The links of the campaign, by `forwardingPriority`."),
        Operation::get("/api/admin/usage", "listUsage", list)
            .tagged("usage", "Read what calls use of all caps")
            .access(Access::Staff)
            .query(&PAGING)
            .query(&FILTERS)
            .answers::<Listed<LinkUsage>>(200, "The links, by id unless sorted otherwise.")
            .problems(&[400]),
        Operation::put("/api/admin/links/{id}/counter", "correctLinkCounter", correct)
            .tagged("usage", "Correct the count of answered calls of a link")
            .about(
                "Give the count, or by how much it is wrong: the latter is right however many calls are answered \
                 meanwhile.",
            )
            .access(Access::Staff)
            .body(&CORRECTION)
            .example(r#"{"delta": -3, "reason": "Test calls of 3 May"}"#)
            .answers::<Link>(200, "The link with its new count."),
    ];
    let levers = [
        Operation::post(
            "/api/seller/campaigns/{id}/clients/{link}/pause",
            "pauseLink",
            pause_own,
        )
        .tagged("usage", "Pause a link now")
        .access(Access::Seller)
        .answers::<Link>(200, "The link, inactive."),
        Operation::post(
            "/api/seller/campaigns/{id}/clients/{link}/resume",
            "resumeLink",
            resume_own,
        )
        .tagged("usage", "Resume a link now")
        .access(Access::Seller)
        .answers::<Link>(200, "The link, active."),
        Operation::post("/api/admin/links/{id}/pause", "pauseAnyLink", pause_link)
            .tagged("usage", "Pause a link of any seller now")
            .access(Access::Staff)
            .answers::<Link>(200, "The link, inactive."),
        Operation::post("/api/admin/links/{id}/resume", "resumeAnyLink", resume_link)
            .tagged("usage", "Resume a link of any seller now")
            .access(Access::Staff)
            .answers::<Link>(200, "The link, active."),
        Operation::post("/api/admin/clients/{id}/pause", "pauseClient", pause_client)
            .tagged("usage", "Pause a client in all campaigns now")
            .access(Access::Staff)
            .answers::<ClientStatus>(200, "The client, inactive."),
        Operation::post(
            "/api/admin/clients/{id}/resume",
            "resumeClient",
            resume_client,
        )
        .tagged("usage", "Resume a client in all campaigns now")
        .access(Access::Staff)
        .answers::<ClientStatus>(200, "The client, active."),
    ];
    let levers = levers.into_iter().map(|operation| {
        operation
            .about("Holds from the next decision on; calls under way go on. Doing it twice changes nothing more.")
            .body_if_any(&REASON)
            .example(r#"{"reason": "Their lines are down until noon"}"#)
    });
    reading.into_iter().chain(levers).collect()
}

const SORTS: &[&str] = &["id", "-live", "-share", "campaign", "client"];

const FILTERS: [Parameter; 6] = [
    parameter(
        "status",
        ParameterKind::Choice(&["active", "inactive"]),
        "Only links of this status.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only links with this text in the name of campaign or client, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "By id unless given; `-live`: most calls first; `-share`: nearest to its cap on calls at once first.",
    ),
    parameter(
        "campaign_id",
        ParameterKind::Integer,
        "Only links of this campaign.",
    ),
    parameter(
        "client_id",
        ParameterKind::Integer,
        "Only links to this client.",
    ),
    parameter(
        "user_id",
        ParameterKind::Integer,
        "Only links of this seller.",
    ),
];

/// Highest count that can be set: calls must be able to add to it for ever.
const MOST_CALLS: i64 = 1_000_000_000;

pub(crate) static REASON: Form = Form {
    name: "Reason",
    fields: &[Field::line("reason", 1, 500).about("Kept in the audit log.")],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static CORRECTION: Form = Form {
    name: "CounterCorrection",
    fields: &[
        Field::integer("currentTotalCalls", 0, MOST_CALLS)
            .about("The new count. Either this or `delta`."),
        Field::integer("delta", -MOST_CALLS, MOST_CALLS)
            .about("Added to the count. Either this or `currentTotalCalls`."),
        Field::line("reason", 1, 500)
            .required()
            .about("Kept in the audit log."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
struct Reason {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Correction {
    current_total_calls: Option<i64>,
    delta: Option<i64>,
    reason: String,
}

/// The use of a campaign's caps.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignUsage {
    campaign_id: i32,
    /// Calls offered or answered that go on, of all links.
    live: i64,
    links: Vec<OwnLinkUsage>,
}

/// The use of a link's caps.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnLinkUsage {
    link_id: i32,
    client: ClientBrief,
    /// Whether the client takes calls at all.
    #[schemars(with = "words::ActiveStatus")]
    client_status: String,
    #[schemars(with = "words::ActiveStatus")]
    status: String,
    max_concurrency: i32,
    /// Calls that use the cap on calls at once: held and confirmed.
    live: i32,
    /// Calls offered, not answered yet.
    held: i32,
    /// Calls answered that go on.
    confirmed: i32,
    total_calls_allowed: Option<i32>,
    /// Calls answered.
    current_total_calls: i32,
    /// Calls that may still be answered; null: any number. Calls offered are not counted yet.
    total_left: Option<i32>,
}

/// A campaign, in few words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CampaignBrief {
    id: i32,
    name: String,
}

/// The use of a link's caps, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LinkUsage {
    #[serde(flatten)]
    usage: OwnLinkUsage,
    campaign: CampaignBrief,
    user: UserBrief,
}

/// A client and whether it takes calls.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClientStatus {
    #[serde(flatten)]
    client: ClientBrief,
    #[schemars(with = "words::ActiveStatus")]
    status: String,
}

impl LinkUsage {
    fn of(row: UsageRow) -> Self {
        Self {
            usage: OwnLinkUsage {
                link_id: row.link_id,
                client: ClientBrief {
                    id: row.client_id,
                    client_identifier: row.client_identifier,
                    name: row.client_name,
                    department: row.client_department,
                },
                client_status: row.client_status,
                status: row.status,
                max_concurrency: row.max_concurrency,
                live: row.held + row.confirmed,
                held: row.held,
                confirmed: row.confirmed,
                total_calls_allowed: row.total_calls_allowed,
                current_total_calls: row.current_total_calls,
                total_left: row
                    .total_calls_allowed
                    .map(|allowed| (allowed - row.current_total_calls).max(0)),
            },
            campaign: CampaignBrief {
                id: row.campaign_id,
                name: row.campaign_name,
            },
            user: UserBrief {
                id: row.user_id,
                username: row.username,
            },
        }
    }
}

/// What a lever does.
#[derive(Debug, Clone, Copy)]
enum Lever {
    Pause,
    Resume,
}

impl Lever {
    fn action(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Pause => "inactive",
            Self::Resume => "active",
        }
    }
}

async fn of_campaign(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<CampaignUsage>, Problem> {
    let rows = api.store.usage_of_campaign(caller.reach(), id).await?;
    let rows = rows.ok_or_else(|| Problem::not_found("campaign"))?;
    let links = rows.into_iter().map(|row| LinkUsage::of(row).usage);
    let links: Vec<_> = links.collect();
    Ok(Json(CampaignUsage {
        campaign_id: id,
        live: links.iter().map(|link| i64::from(link.live)).sum(),
        links,
    }))
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<Listed<LinkUsage>>, Problem> {
    let page = query.page(20)?;
    let filter = UsageFilter {
        campaign_id: query.only_id("campaign_id")?,
        client_id: query.only_id("client_id")?,
        user_id: query.only_id("user_id")?,
        status: query.choice("status", &["active", "inactive"])?,
        text: query.checked("q", 100)?,
    };
    let sort = query.choice("sort", SORTS)?.unwrap_or("id");
    let (rows, total) = api.store.usage(filter, sort, page.bounds()).await?;
    let links = rows.into_iter().map(LinkUsage::of).collect();
    Ok(Json(page.of(links, total)))
}

async fn pause_own(
    api: State<Api>,
    caller: Caller,
    ids: Ids<2>,
    body: HttpRequest,
) -> Result<Tagged<Link>, Problem> {
    steer_own(api, caller, ids, body, Lever::Pause).await
}

async fn resume_own(
    api: State<Api>,
    caller: Caller,
    ids: Ids<2>,
    body: HttpRequest,
) -> Result<Tagged<Link>, Problem> {
    steer_own(api, caller, ids, body, Lever::Resume).await
}

async fn pause_link(
    api: State<Api>,
    caller: Caller,
    id: Id,
    body: HttpRequest,
) -> Result<Tagged<Link>, Problem> {
    steer_any(api, caller, id, body, Lever::Pause).await
}

async fn resume_link(
    api: State<Api>,
    caller: Caller,
    id: Id,
    body: HttpRequest,
) -> Result<Tagged<Link>, Problem> {
    steer_any(api, caller, id, body, Lever::Resume).await
}

async fn pause_client(
    api: State<Api>,
    caller: Caller,
    id: Id,
    body: HttpRequest,
) -> Result<Json<ClientStatus>, Problem> {
    steer_client(api, caller, id, body, Lever::Pause).await
}

async fn resume_client(
    api: State<Api>,
    caller: Caller,
    id: Id,
    body: HttpRequest,
) -> Result<Json<ClientStatus>, Problem> {
    steer_client(api, caller, id, body, Lever::Resume).await
}

async fn steer_own(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
    body: HttpRequest,
    lever: Lever,
) -> Result<Tagged<Link>, Problem> {
    let (campaign_id, id) = links::in_path(ids)?;
    let reason = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (owner, row) = links::lock(&request, campaign_id, id).await?;
    steer_link(request, &caller, owner, row, lever, reason.as_deref()).await
}

async fn steer_any(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
    lever: Lever,
) -> Result<Tagged<Link>, Problem> {
    let reason = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let (owner, row) = lock_any(&request, id).await?;
    steer_link(request, &caller, owner, row, lever, reason.as_deref()).await
}

/// Locks a link, whoever's it is.
async fn lock_any(request: &Request, id: i32) -> Result<(UserId, LinkRow), Problem> {
    let gone = || Problem::not_found("link");
    let link = request.lock_any_link(id).await?.ok_or_else(gone)?;
    let row = request.lock_link(link.campaign_id, id).await?;
    Ok((link.owner, row.ok_or_else(gone)?))
}

/// Sets the status of a link that was locked.
async fn steer_link(
    request: Request,
    caller: &Caller,
    owner: UserId,
    row: LinkRow,
    lever: Lever,
    reason: Option<&str>,
) -> Result<Tagged<Link>, Problem> {
    let (campaign_id, id) = (row.campaign_id, row.id);
    let changes = row.status != lever.status();
    let mut link = Link::of(row);
    if changes {
        let status = Some(lever.status());
        let change = LinkChange {
            status,
            ..LinkChange::default()
        };
        let row = request.update_link(campaign_id, id, &change).await?;
        let before = std::mem::replace(&mut link, Link::of(row));
        request
            .audit(&Change {
                actor: &caller.actor(),
                tenant: Some(owner),
                action: lever.action(),
                object_type: "link",
                object_id: id.to_string(),
                before: shown(&before),
                after: shown(&link),
                reason,
            })
            .await?;
    }
    request.commit().await?;
    Ok(Tagged(link.tag(), link))
}

async fn steer_client(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    body: HttpRequest,
    lever: Lever,
) -> Result<Json<ClientStatus>, Problem> {
    let reason = reason(body).await?;
    let request = api.store.request(caller.reach()).await?;
    let row = request.lock_client_status(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("client"))?;
    if row.status != lever.status() {
        request.set_client_status(id, lever.status()).await?;
        request
            .audit(&Change {
                actor: &caller.actor(),
                tenant: None,
                action: lever.action(),
                object_type: "client",
                object_id: id.to_string(),
                before: Some(json!({ "status": row.status })),
                after: Some(json!({ "status": lever.status() })),
                reason: reason.as_deref(),
            })
            .await?;
    }
    request.commit().await?;
    Ok(Json(ClientStatus {
        client: ClientBrief {
            id: row.id,
            client_identifier: row.client_identifier,
            name: row.name,
            department: row.department,
        },
        status: lever.status().to_owned(),
    }))
}

/// Why, if the body says so.
pub(crate) async fn reason(body: HttpRequest) -> Result<Option<String>, Problem> {
    let given: Option<Reason> = read_optional(body, &REASON).await?;
    Ok(given.and_then(|given| given.reason))
}

async fn correct(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Input(correction): Input<Correction>,
) -> Result<Tagged<Link>, Problem> {
    if correction.current_total_calls.is_some() == correction.delta.is_some() {
        return Err(Problem::field(
            "currentTotalCalls",
            "Give either this or `delta`, not both.",
        ));
    }
    let request = api.store.request(caller.reach()).await?;
    let (owner, row) = lock_any(&request, id).await?;
    let before = row.current_total_calls;
    let wanted = correction
        .current_total_calls
        .unwrap_or_else(|| i64::from(before) + correction.delta.unwrap_or_default());
    let after = i32::try_from(wanted)
        .ok()
        .filter(|count| (0..=MOST_CALLS).contains(&i64::from(*count)))
        .ok_or_else(|| {
            Problem::field(
                "delta",
                format!("The count is {before}; it may become 0 to {MOST_CALLS}, not {wanted}."),
            )
        })?;
    request.set_counter(id, after).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(owner),
            action: "correct_counter",
            object_type: "link",
            object_id: id.to_string(),
            before: Some(json!({ "currentTotalCalls": before })),
            after: Some(json!({ "currentTotalCalls": after })),
            reason: Some(&correction.reason),
        })
        .await?;
    request.commit().await?;
    let link = Link::of(LinkRow {
        current_total_calls: after,
        ..row
    });
    Ok(Tagged(link.tag(), link))
}
