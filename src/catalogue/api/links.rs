//! Links: which clients take a campaign's calls, and how many.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::campaigns::{ClientBrief, INT4, refuse_campaign};
use crate::accounts::api::quotas;
use crate::accounts::store::quotas::Kind;
use crate::catalogue::store::links::{ClientStanding, LinkChange, LinkRow, NewLinkRow};
use crate::db::request::{Broken, Request};
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged, created_below};
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Ids};
use crate::http::kit::scope::{Side, note};
use crate::http::kit::{shown, words};

/// The operations on links.
pub fn operations() -> Vec<Operation> {
    Side::BOTH.into_iter().flat_map(on).collect()
}

fn on(side: Side) -> Vec<Operation> {
    let all = side.pick(
        "/api/seller/campaigns/{id}/clients",
        "/api/admin/campaigns/{id}/clients",
    );
    let one = side.pick(
        "/api/seller/campaigns/{id}/clients/{link}",
        "/api/admin/campaigns/{id}/clients/{link}",
    );
    let operations = [
        Operation::post(all, side.pick("createLink", "giveLink"), create)
            .tagged("campaigns", "Link a client to a campaign")
            .about(
                "A client can be linked to a campaign once, while it is open to the seller; one that is not active is offered no call. Answered calls \
                 are counted by the daemon only.",
            )
            .body(side.pick(&NEW_LINK, &GIVEN_LINK))
            .example(
                r#"{"clientId": 1, "maxConcurrency": 10, "forwardingPriority": 0, "weight": 100, "totalCallsAllowed": 5000}"#,
            )
            .answers::<Link>(201, "The new link.")
            .problems(&[409]),
        Operation::get(one, side.pick("getLink", "getAnyLink"), read)
            .tagged("campaigns", "Read a link")
            .answers::<Link>(200, "The link."),
        Operation::put(one, side.pick("updateLink", "updateAnyLink"), update)
            .tagged("campaigns", "Change a link")
            .about("The client cannot be changed: delete the link and add another.")
            .body(side.pick(&LINK_CHANGE, &ANY_LINK_CHANGE))
            .example(r#"{"maxConcurrency": 20}"#)
            .answers::<Link>(200, "The changed link.")
            .problems(&[412]),
        Operation::delete(one, side.pick("deleteLink", "deleteAnyLink"), delete)
            .tagged("campaigns", "Unlink a client")
            .about("Calls under way go on; the link's calls stay in the log.")
            .answers_nothing(204, "It is gone.")
            .problems(&[412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

const STATUSES: &[&str] = &["active", "inactive"];

const NEW_FIELDS: &[Field] = &[
    Field::integer("clientId", i32::MIN as i64, INT4).required(),
    Field::integer("maxConcurrency", 1, INT4)
        .required()
        .about("Most calls at once."),
    PRIORITY.required(),
    WEIGHT.required(),
    Field::integer("totalCallsAllowed", 0, INT4)
        .nullable()
        .about("Most answered calls; null: any number."),
    Field::choice("status", STATUSES).default("\"active\""),
];

pub(crate) const PRIORITY: Field =
    Field::integer("forwardingPriority", 0, INT4).about("Lower is tried first.");

pub(crate) const WEIGHT: Field =
    Field::integer("weight", 1, INT4).about("Share of the calls in a weighted campaign.");

const CHANGE_FIELDS: &[Field] = &[
    Field::refused(
        "clientId",
        "May not be changed. Delete the link and add another.",
    ),
    Field::integer("maxConcurrency", 1, INT4),
    Field::integer("forwardingPriority", 0, INT4),
    Field::integer("weight", 1, INT4),
    Field::integer("totalCallsAllowed", 0, INT4).nullable(),
    Field::choice("status", STATUSES),
];

static NEW_LINK: Form = Form {
    name: "NewLink",
    fields: NEW_FIELDS,
    unknown: Unknown::Drop,
    at_least_one: false,
};

pub(crate) static GIVEN_LINK: Form = Form {
    name: "GivenLink",
    fields: NEW_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static LINK_CHANGE: Form = Form {
    name: "LinkChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Drop,
    at_least_one: true,
};

static ANY_LINK_CHANGE: Form = Form {
    name: "AnyLinkChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewLink {
    pub(crate) client_id: i32,
    max_concurrency: i32,
    forwarding_priority: i32,
    weight: i32,
    total_calls_allowed: Option<i32>,
    status: String,
}

impl NewLink {
    pub(crate) fn row(&self) -> NewLinkRow<'_> {
        NewLinkRow {
            client_id: self.client_id,
            status: &self.status,
            max_concurrency: self.max_concurrency,
            total_calls_allowed: self.total_calls_allowed,
            forwarding_priority: self.forwarding_priority,
            weight: self.weight,
        }
    }
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
    pub(crate) id: i32,
    pub(crate) client: ClientBrief,
    #[schemars(with = "words::ActiveStatus")]
    status: String,
    max_concurrency: i32,
    total_calls_allowed: Option<i32>,
    /// Calls answered.
    current_total_calls: i32,
    pub(crate) forwarding_priority: i32,
    pub(crate) weight: i32,
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
pub(crate) fn in_path(Ids([campaign_id, id]): Ids<2>) -> Result<(i32, i32), Problem> {
    let id_of = |id| i32::try_from(id).map_err(|_| Problem::not_found("link"));
    Ok((id_of(campaign_id)?, id_of(id)?))
}

/// Locks a link within the caller's reach, and its campaign before it. Says whose it is.
pub(crate) async fn lock(
    request: &Request,
    campaign_id: i32,
    id: i32,
) -> Result<(UserId, LinkRow), Problem> {
    if let Some(campaign) = request.lock_campaign(campaign_id).await? {
        let row = request.lock_link(campaign_id, id).await?;
        let row = row.ok_or_else(|| Problem::not_found("link in this campaign"))?;
        return Ok((campaign.owner, row));
    }
    // Whether the link belongs to the campaign comes first, as the contract has it.
    if !request.link_exists(campaign_id, id).await? {
        return Err(Problem::not_found("link in this campaign"));
    }
    Err(refuse_campaign(request, campaign_id).await?)
}

/// Why a client may not be linked to a campaign of this seller, if it may not. A seller is not told whether a client
/// that is not open to it exists.
pub(crate) fn refusal(caller: &Caller, standing: Option<ClientStanding>) -> Option<Problem> {
    let standing = match standing {
        Some(standing) if standing.is_granted || caller.role != Role::User => standing,
        _ => return Some(Problem::not_found("client that you may link")),
    };
    if !standing.is_granted {
        return Some(Problem::conflict(
            Code::NotGranted,
            "This client takes calls of sellers with a grant only, and this seller has none. Grant it first.",
        ));
    }
    None
}

/// What a client says that is linked already.
pub(crate) fn linked_already() -> Problem {
    Problem::conflict(
        Code::AlreadyLinked,
        "This client is linked to this campaign already. Change that link instead.",
    )
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Id(campaign_id): Id,
    Input(new): Input<NewLink>,
) -> Result<Response, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let Some(campaign) = request.lock_campaign(campaign_id).await? else {
        return Err(refuse_campaign(&request, campaign_id).await?);
    };
    let owner = campaign.owner;
    let standings = request.client_standings(owner, &[new.client_id]).await?;
    if let Some(problem) = refusal(&caller, standings.first().copied()) {
        return Err(problem);
    }
    quotas::admit(&api, &request, owner, Kind::Links).await?;
    let created = request
        .create_links(campaign_id, &[new.row()])
        .await
        .map_err(|error| match error.broken() {
            // Deleted since it was looked for.
            Some(Broken::Reference(_)) => Problem::not_found("client"),
            _ => error.into(),
        })?;
    let row = created.into_iter().next().ok_or_else(linked_already)?;
    let link = Link::of(row);
    let object = ("link", link.id);
    note(
        &request,
        &caller,
        owner,
        "create",
        object,
        None,
        shown(&link),
    )
    .await?;
    request.commit().await?;
    Ok(created_below(link.id, Tagged(link.tag(), link)))
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
) -> Result<Tagged<Link>, Problem> {
    let (campaign_id, id) = in_path(ids)?;
    let row = api.store.link(caller.reach(), campaign_id, id).await?;
    let link = Link::of(row.ok_or_else(|| Problem::not_found("link in this campaign"))?);
    Ok(Tagged(link.tag(), link))
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
    let (owner, row) = lock(&request, campaign_id, id).await?;
    let before = Link::of(row);
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
    let (old, new) = (shown(&before), shown(&link));
    note(&request, &caller, owner, "update", ("link", id), old, new).await?;
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
    let (owner, row) = lock(&request, campaign_id, id).await?;
    let before = Link::of(row);
    before.tag().check(&headers)?;
    request.delete_link(id).await?;
    note(
        &request,
        &caller,
        owner,
        "delete",
        ("link", id),
        shown(&before),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
