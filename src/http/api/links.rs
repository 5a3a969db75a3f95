//! Links: which clients take a campaign's calls, and how many.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Access, Caller};
use super::body::{Input, given};
use super::campaigns::{ClientBrief, INT4, refuse_campaign};
use super::code::Code;
use super::etag::{Tag, Tagged, created_below};
use super::form::{Field, Form, Unknown};
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Id, Ids};
use super::{Api, Problem, note_own, quotas, shown, words};
use crate::store::links::{LinkChange, LinkRow, NewLinkRow};
use crate::store::quotas::Kind;
use crate::store::request::{Broken, Request};

/// The operations on links.
pub fn operations() -> Vec<Operation> {
    const ONE: &str = "/api/seller/campaigns/{id}/clients/{link}";
    let operations = vec![
        Operation::post("/api/seller/campaigns/{id}/clients", "createLink", create)
            .tagged("campaigns", "Link a client to a campaign")
            .about("A client can be linked to a campaign once. Answered calls are counted by the daemon only.")
            .body(&NEW_LINK)
            .example(
                r#"{"clientId": 1, "maxConcurrency": 10, "forwardingPriority": 0, "weight": 100, "totalCallsAllowed": 5000}"#,
            )
            .answers::<Link>(201, "The new link.")
            .problems(&[409]),
        Operation::put(ONE, "updateLink", update)
            .tagged("campaigns", "Change a link")
            .about("The client cannot be changed: delete the link and add another.")
            .body(&LINK_CHANGE)
            .example(r#"{"maxConcurrency": 20}"#)
            .answers::<Link>(200, "The changed link.")
            .problems(&[412]),
        Operation::delete(ONE, "deleteLink", delete)
            .tagged("campaigns", "Unlink a client")
            .about("Calls under way go on; the link's calls stay in the log.")
            .answers_nothing(204, "It is gone.")
            .problems(&[412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Seller))
        .collect()
}

const STATUSES: &[&str] = &["active", "inactive"];

static NEW_LINK: Form = Form {
    name: "NewLink",
    fields: &[
        Field::integer("clientId", i32::MIN as i64, INT4).required(),
        Field::integer("maxConcurrency", 1, INT4)
            .required()
            .about("Most calls at once."),
        Field::integer("forwardingPriority", 0, INT4)
            .required()
            .about("Lower is tried first."),
        Field::integer("weight", 1, INT4)
            .required()
            .about("Share of the calls in a weighted campaign."),
        Field::integer("totalCallsAllowed", 0, INT4)
            .nullable()
            .about("Most answered calls; null: any number."),
        Field::choice("status", STATUSES).default("\"active\""),
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static LINK_CHANGE: Form = Form {
    name: "LinkChange",
    fields: &[
        Field::refused(
            "clientId",
            "May not be changed. Delete the link and add another.",
        ),
        Field::integer("maxConcurrency", 1, INT4),
        Field::integer("forwardingPriority", 0, INT4),
        Field::integer("weight", 1, INT4),
        Field::integer("totalCallsAllowed", 0, INT4).nullable(),
        Field::choice("status", STATUSES),
    ],
    unknown: Unknown::Drop,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewLink {
    client_id: i32,
    max_concurrency: i32,
    forwarding_priority: i32,
    weight: i32,
    total_calls_allowed: Option<i32>,
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedLink {
    max_concurrency: Option<i32>,
    forwarding_priority: Option<i32>,
    weight: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    total_calls_allowed: Option<Option<i32>>,
    status: Option<String>,
}

/// A client's part in a campaign.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    id: i32,
    client: ClientBrief,
    #[schemars(with = "words::ActiveStatus")]
    status: String,
    max_concurrency: i32,
    total_calls_allowed: Option<i32>,
    /// Calls answered.
    current_total_calls: i32,
    forwarding_priority: i32,
    weight: i32,
    created_at: Moment,
    updated_at: Moment,
}

impl Link {
    /// As the API shows it.
    pub fn of(row: LinkRow) -> Self {
        Self {
            id: row.id,
            client: ClientBrief {
                id: row.client_id,
                client_identifier: row.client_identifier,
                name: row.client_name,
                department: row.client_department,
            },
            status: row.status,
            max_concurrency: row.max_concurrency,
            total_calls_allowed: row.total_calls_allowed,
            current_total_calls: row.current_total_calls,
            forwarding_priority: row.forwarding_priority,
            weight: row.weight,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }

    /// What changes with every change; calls do not count as one.
    pub fn version(&self) -> [i64; 2] {
        [i64::from(self.id), self.updated_at.0.as_microsecond()]
    }

    /// Its version.
    pub fn tag(&self) -> Tag {
        Tag::of(&self.version())
    }
}

/// The ids of campaign and link in the path; what cannot be an id is not found.
pub(super) fn in_path(Ids([campaign_id, id]): Ids<2>) -> Result<(i32, i32), Problem> {
    let id_of = |id| i32::try_from(id).map_err(|_| Problem::not_found("link"));
    Ok((id_of(campaign_id)?, id_of(id)?))
}

/// Locks a link of the caller, and its campaign before it.
pub(super) async fn lock(
    request: &Request,
    caller: &Caller,
    campaign_id: i32,
    id: i32,
) -> Result<LinkRow, Problem> {
    let owned = request.lock_campaign(caller.user_id, campaign_id).await?;
    if owned.is_some() {
        let row = request.lock_link(campaign_id, id).await?;
        return row.ok_or_else(|| Problem::not_found("link in this campaign"));
    }
    // Whether the link belongs to the campaign comes first, as the contract has it.
    if !request.link_exists(campaign_id, id).await? {
        return Err(Problem::not_found("link in this campaign"));
    }
    Err(refuse_campaign(request, campaign_id).await?)
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Id(campaign_id): Id,
    Input(new): Input<NewLink>,
) -> Result<Response, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let owned = request.lock_campaign(caller.user_id, campaign_id).await?;
    if owned.is_none() {
        return Err(refuse_campaign(&request, campaign_id).await?);
    }
    if !request.client_exists(new.client_id).await? {
        return Err(Problem::not_found("client"));
    }
    quotas::admit(&api, &request, caller.user_id, Kind::Links).await?;
    let created = request
        .create_link(
            campaign_id,
            &NewLinkRow {
                client_id: new.client_id,
                status: &new.status,
                max_concurrency: new.max_concurrency,
                total_calls_allowed: new.total_calls_allowed,
                forwarding_priority: new.forwarding_priority,
                weight: new.weight,
            },
        )
        .await;
    let link = created
        .map(Link::of)
        .map_err(|error| match error.broken() {
            Some(Broken::Unique("campaign_client_settings_campaign_client_key")) => {
                Problem::conflict(
                    Code::AlreadyLinked,
                    "This client is linked to this campaign already. Change that link instead.",
                )
            }
            // Deleted since it was looked for.
            Some(Broken::Reference(_)) => Problem::not_found("client"),
            _ => error.into(),
        })?;
    note_own(
        &request,
        &caller,
        "create",
        ("link", link.id),
        None,
        shown(&link),
    )
    .await?;
    request.commit().await?;
    Ok(created_below(link.id, Tagged(link.tag(), link)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
    headers: HeaderMap,
    Input(change): Input<ChangedLink>,
) -> Result<Tagged<Link>, Problem> {
    let (campaign_id, id) = in_path(ids)?;
    let request = api.store.request(caller.reach()).await?;
    let before = Link::of(lock(&request, &caller, campaign_id, id).await?);
    before.tag().check(&headers)?;
    let row = request
        .update_link(
            campaign_id,
            id,
            &LinkChange {
                status: change.status.as_deref(),
                max_concurrency: change.max_concurrency,
                total_calls_allowed: change.total_calls_allowed,
                forwarding_priority: change.forwarding_priority,
                weight: change.weight,
            },
        )
        .await?;
    let link = Link::of(row);
    note_own(
        &request,
        &caller,
        "update",
        ("link", id),
        shown(&before),
        shown(&link),
    )
    .await?;
    request.commit().await?;
    Ok(Tagged(link.tag(), link))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (campaign_id, id) = in_path(ids)?;
    let request = api.store.request(caller.reach()).await?;
    let before = Link::of(lock(&request, &caller, campaign_id, id).await?);
    before.tag().check(&headers)?;
    request.delete_link(id).await?;
    note_own(
        &request,
        &caller,
        "delete",
        ("link", id),
        shown(&before),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
