//! Campaigns: sellers' plans for the calls to some DIDs, for the seller and for staff.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::links::Link;
use crate::accounts::api::quotas;
use crate::accounts::store::quotas::Kind;
use crate::catalogue::store::campaigns::{
    AvailableClientRow, CampaignChange, CampaignFilter, CampaignRecording, CampaignRow,
    NewCampaignRow, RecordingChange, TiedDidRow, WholeCampaign,
};
use crate::db;
use crate::db::request::{Broken, Request};
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged, created_below};
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::scope::{Owned, Side, note, owner_of_new, with_owner};
use crate::http::kit::{shown, words};

/// The operations on campaigns.
pub fn operations() -> Vec<Operation> {
    let available = Operation::get(
        "/api/seller/campaigns/available_clients",
        "listAvailableClients",
        available_clients,
    )
    .tagged("campaigns", "List the clients you may link")
    .access(Access::Seller)
    .query(&AVAILABLE)
    .answers::<Vec<ClientBrief>>(
        200,
        "Active clients by name: the first 500, or the page that was asked for. The header X-Total-Count says how many \
         there are.",
    )
    .problems(&[400]);
    Side::BOTH
        .into_iter()
        .flat_map(on)
        .chain([available])
        .collect()
}

fn on(side: Side) -> Vec<Operation> {
    let all = side.pick("/api/seller/campaigns", "/api/admin/campaigns");
    let one = side.pick("/api/seller/campaigns/{id}", "/api/admin/campaigns/{id}");
    let list = Operation::get(all, side.pick("listCampaigns", "listAllCampaigns"), list)
        .tagged(
            "campaigns",
            side.pick("List your campaigns", "List the campaigns of all sellers"),
        )
        .query(&PAGING)
        .query(&FILTERS)
        .query(side.user_filter())
        .problems(&[400]);
    let create = Operation::post(all, side.pick("createCampaign", "giveCampaign"), create)
        .tagged(
            "campaigns",
            side.pick("Add a campaign", "Add a campaign for a seller"),
        )
        .body(side.pick(&NEW_CAMPAIGN, &GIVEN_CAMPAIGN))
        .example(side.pick(
            r#"{"name": "Sales US", "routingStrategy": "priority", "dialTimeoutSeconds": 25}"#,
            r#"{"userId": 3, "name": "Sales US", "routingStrategy": "priority", "dialTimeoutSeconds": 25}"#,
        ))
        .problems(&[409]);
    let read = Operation::get(one, side.pick("getCampaign", "getAnyCampaign"), read).tagged(
        "campaigns",
        side.pick("Read a campaign", "Read a campaign of any seller"),
    );
    let update = Operation::put(one, side.pick("updateCampaign", "updateAnyCampaign"), update)
        .tagged(
            "campaigns",
            side.pick("Change a campaign", "Change a campaign of any seller"),
        )
        .about(
            "Refused with 409 if it would become active while another active campaign has one of its DIDs.",
        )
        .body(side.pick(&CAMPAIGN_CHANGE, &ANY_CAMPAIGN_CHANGE))
        .example(r#"{"status": "paused"}"#)
        .problems(&[409, 412]);
    let delete = Operation::delete(
        one,
        side.pick("deleteCampaign", "deleteAnyCampaign"),
        delete,
    )
    .tagged(
        "campaigns",
        side.pick("Delete a campaign", "Delete a campaign of any seller"),
    )
    .about("Its links go with it, its DIDs stay. Calls under way go on; its calls stay in the log.")
    .answers_nothing(204, "It is gone.")
    .problems(&[412]);
    let operations = match side {
        Side::Seller => [
            list.answers::<Listed<Campaign>>(
                200,
                "Your campaigns, by name unless sorted otherwise, without their DIDs and links.",
            ),
            create.answers::<CampaignWithAll>(201, "The new campaign."),
            read.answers::<CampaignWithAll>(200, "The campaign with its DIDs and links."),
            update.answers::<CampaignWithAll>(200, "The changed campaign."),
            delete,
        ],
        Side::Staff => [
            list.answers::<Listed<Owned<Campaign>>>(
                200,
                "The campaigns, by name unless sorted otherwise, without their DIDs and links.",
            ),
            create.answers::<Owned<CampaignWithAll>>(201, "The new campaign."),
            read.answers::<Owned<CampaignWithAll>>(200, "The campaign with its DIDs and links."),
            update.answers::<Owned<CampaignWithAll>>(200, "The changed campaign."),
            delete,
        ],
    };
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

const STATUSES: &[&str] = &["active", "inactive", "paused"];
const STRATEGIES: &[&str] = &["priority", "round_robin", "weighted"];
const LANGUAGES: &[&str] = &["en", "hi", "auto"];

/// A sound is found by Asterisk, in the caller's language, among its own: no path, no ending.
const SOUND: Rule = Rule::Check {
    expected: "the name of a sound file without path and ending: letters, digits, `_` and `-`",
    pattern: "^[A-Za-z0-9_-]+$",
    check: |name| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    },
};

const RECORDING_ENABLED: Field =
    Field::flag("recordingEnabled").about("Answered calls are recorded and transcribed.");
const RECORDING_LANGUAGE: Field = Field::choice("recordingLanguage", LANGUAGES)
    .about("What is spoken: English, Hindi, or either (`auto`), found out for each utterance.");
const RECORDING_ANNOUNCEMENT: Field = Field::text("recordingAnnouncement", 1, 64, SOUND)
    .nullable()
    .about(
        "Name of a sound file of Asterisk's that both sides hear before they are connected; where it cannot be \
         played nothing is recorded. Null: none.",
    );
const RECORDING_RETENTION_DAYS: Field = Field::integer("recordingRetentionDays", 1, 36_500)
    .nullable()
    .about("Days after which recordings and transcripts are deleted. Null: never.");
const MASK_NUMBERS: Field = Field::flag("maskNumbers")
    .about("Long numbers, such as those of cards, are masked in transcripts.");

/// Most of a column of four bytes.
pub(crate) const INT4: i64 = i32::MAX as i64;

/// Most clients on a page of those that may be linked.
const MOST_AVAILABLE_CLIENTS: i64 = 500;

const AVAILABLE_SORTS: &[&str] = &["name", "-name", "clientIdentifier", "-clientIdentifier"];

const AVAILABLE: [Parameter; 4] = [
    parameter(
        "sort",
        ParameterKind::Choice(AVAILABLE_SORTS),
        "The order; with a minus the other way round. By name unless given.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only those with this text in identifier, name or department, at most 100 characters.",
    ),
    parameter(
        "page",
        ParameterKind::Integer,
        "Number of the page, from 1.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Clients on a page, at most 500; 500 unless given.",
    ),
];

const SORTS: &[&str] = &[
    "name",
    "-name",
    "createdAt",
    "-createdAt",
    "updatedAt",
    "-updatedAt",
];

const FILTERS: [Parameter; 6] = [
    parameter(
        "status",
        ParameterKind::Choice(STATUSES),
        "Only those of this status.",
    ),
    parameter(
        "routing_strategy",
        ParameterKind::Choice(STRATEGIES),
        "Only those with this strategy.",
    ),
    parameter(
        "did_id",
        ParameterKind::Integer,
        "Only those with this DID.",
    ),
    parameter(
        "client_id",
        ParameterKind::Integer,
        "Only those that are linked to this client.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only those with this text in name or description, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "The order; with a minus the other way round. By name unless given.",
    ),
];

const NEW_FIELDS: [Field; 10] = [
    Field::line("name", 1, 100)
        .required()
        .about("Unique among the seller's campaigns."),
    Field::choice("routingStrategy", STRATEGIES).required(),
    Field::integer("dialTimeoutSeconds", 1, INT4)
        .required()
        .about("How long a target rings before the next one is tried."),
    Field::choice("status", STATUSES).default("\"active\""),
    Field::text("description", 0, 10_000, Rule::Lines).nullable(),
    RECORDING_ENABLED.default("false"),
    RECORDING_LANGUAGE.default("\"en\""),
    RECORDING_ANNOUNCEMENT,
    RECORDING_RETENTION_DAYS,
    MASK_NUMBERS.default("false"),
];

const CHANGE_FIELDS: &[Field] = &[
    Field::line("name", 1, 100),
    Field::choice("routingStrategy", STRATEGIES),
    Field::integer("dialTimeoutSeconds", 1, INT4),
    Field::choice("status", STATUSES),
    Field::text("description", 0, 10_000, Rule::Lines).nullable(),
    RECORDING_ENABLED,
    RECORDING_LANGUAGE,
    RECORDING_ANNOUNCEMENT,
    RECORDING_RETENTION_DAYS,
    MASK_NUMBERS,
];

static NEW_CAMPAIGN: Form = Form {
    name: "NewCampaign",
    fields: &NEW_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static GIVEN_CAMPAIGN: Form = Form {
    name: "GivenCampaign",
    fields: &with_owner::<10, 11>(NEW_FIELDS),
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static CAMPAIGN_CHANGE: Form = Form {
    name: "CampaignChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Drop,
    at_least_one: true,
};

static ANY_CAMPAIGN_CHANGE: Form = Form {
    name: "AnyCampaignChange",
    fields: CHANGE_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewCampaign {
    user_id: Option<i32>,
    name: String,
    routing_strategy: String,
    dial_timeout_seconds: i32,
    status: String,
    description: Option<String>,
    recording_enabled: bool,
    recording_language: String,
    recording_announcement: Option<String>,
    recording_retention_days: Option<i32>,
    mask_numbers: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedCampaign {
    name: Option<String>,
    routing_strategy: Option<String>,
    dial_timeout_seconds: Option<i32>,
    status: Option<String>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    recording_enabled: Option<bool>,
    recording_language: Option<String>,
    #[serde(default, deserialize_with = "given")]
    recording_announcement: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    recording_retention_days: Option<Option<i32>>,
    mask_numbers: Option<bool>,
}

/// A campaign.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Campaign {
    id: i32,
    name: String,
    #[schemars(with = "words::CampaignStatus")]
    status: String,
    #[schemars(with = "words::RoutingStrategy")]
    routing_strategy: String,
    dial_timeout_seconds: i32,
    description: Option<String>,
    /// Whether answered calls are recorded and transcribed.
    recording_enabled: bool,
    /// `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    recording_language: String,
    /// Name of the sound file that both sides hear first.
    recording_announcement: Option<String>,
    /// Days after which recordings and transcripts are deleted; null: never.
    recording_retention_days: Option<i32>,
    /// Whether long numbers are masked in transcripts.
    mask_numbers: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// A DID as its campaign shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CampaignDid {
    id: i32,
    number: String,
    description: Option<String>,
    #[schemars(with = "words::DidStatus")]
    status: String,
    #[serde(skip)]
    updated_at: i64,
}

/// A campaign with its DIDs and links.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignWithAll {
    #[serde(flatten)]
    campaign: Campaign,
    /// Its DIDs, by id.
    dids: Vec<CampaignDid>,
    /// Its links, by `forwardingPriority`.
    client_settings: Vec<Link>,
}

/// A client as sellers see it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientBrief {
    /// Its id.
    pub id: i32,
    /// Its name in Asterisk.
    pub client_identifier: String,
    /// Its name.
    pub name: String,
    /// Its department.
    pub department: Option<String>,
}

impl Campaign {
    fn of(row: CampaignRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            status: row.status,
            routing_strategy: row.routing_strategy,
            dial_timeout_seconds: row.dial_timeout_seconds,
            description: row.description,
            recording_enabled: row.recording.enabled,
            recording_language: row.recording.language,
            recording_announcement: row.recording.announcement,
            recording_retention_days: row.recording.retention_days,
            mask_numbers: row.recording.mask_numbers,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }
}

impl CampaignDid {
    fn of(row: TiedDidRow) -> Self {
        Self {
            id: row.id,
            number: row.number,
            description: row.description,
            status: row.status,
            updated_at: row.updated_at.as_microsecond(),
        }
    }
}

impl CampaignWithAll {
    fn of(whole: WholeCampaign) -> Self {
        Self {
            campaign: Campaign::of(whole.campaign),
            dids: whole.dids.into_iter().map(CampaignDid::of).collect(),
            client_settings: whole.links.into_iter().map(Link::of).collect(),
        }
    }

    /// Moves with the campaign, its DIDs and its links, not with the calls they count.
    pub(crate) fn tag(&self) -> Tag {
        let mut parts = vec![
            i64::from(self.campaign.id),
            self.campaign.updated_at.0.as_microsecond(),
            self.dids.len() as i64,
        ];
        for did in &self.dids {
            parts.extend([i64::from(did.id), did.updated_at]);
        }
        for link in &self.client_settings {
            parts.extend(link.version());
        }
        Tag::of(&parts)
    }

    /// One of its DIDs.
    pub(crate) fn into_did(self, id: i32) -> Option<CampaignDid> {
        self.dids.into_iter().find(|did| did.id == id)
    }

    /// Its links, in the order of their tiers.
    pub(crate) fn links(&self) -> &[Link] {
        &self.client_settings
    }

    pub(crate) fn did_ids(&self) -> Vec<i32> {
        self.dids.iter().map(|did| did.id).collect()
    }
}

impl ClientBrief {
    fn of(row: AvailableClientRow) -> Self {
        Self {
            id: row.id,
            client_identifier: row.client_identifier,
            name: row.name,
            department: row.department,
        }
    }
}

/// A campaign that somebody else owns, or that nobody does, is refused: 403 and 404, as the contract has it.
pub(crate) async fn refuse_campaign(request: &Request, id: i32) -> Result<Problem, Problem> {
    Ok(if request.campaign_exists(id).await? {
        Problem::forbidden(Code::NotYours, "This campaign is another seller's.")
    } else {
        Problem::not_found("campaign")
    })
}

/// A campaign that is locked, for a change of it, its ties or its links.
pub(crate) struct Locked {
    pub(crate) owner: UserId,
    username: String,
    pub(crate) is_active: bool,
    pub(crate) campaign: CampaignWithAll,
}

impl Locked {
    /// As the caller sees it.
    pub(crate) fn seen_by(self, caller: &Caller) -> Owned<CampaignWithAll> {
        Owned::seen_by(caller, self.campaign, self.owner, &self.username)
    }
}

/// Locks a campaign of the caller, or of any seller for staff.
pub(crate) async fn lock(
    request: &Request,
    id: i32,
    headers: &HeaderMap,
) -> Result<Locked, Problem> {
    let Some(row) = request.lock_campaign(id).await? else {
        return Err(refuse_campaign(request, id).await?);
    };
    let locked = whole(request, row).await?;
    locked.campaign.tag().check(headers)?;
    Ok(locked)
}

/// A campaign that is locked, with what belongs to it now.
pub(crate) async fn whole(request: &Request, row: CampaignRow) -> Result<Locked, Problem> {
    Ok(Locked {
        owner: row.owner,
        username: row.username.clone(),
        is_active: row.status == "active",
        campaign: CampaignWithAll::of(request.whole_campaign(row).await?),
    })
}

fn name_taken(error: db::Error, name: Option<&str>) -> Problem {
    match (error.broken(), name) {
        (Some(Broken::Unique("uq_user_campaign_name")), Some(name)) => Problem::conflict(
            Code::NameTaken,
            format!("There is a campaign named {name:?} already. Choose another name."),
        ),
        _ => error.into(),
    }
}

/// Refuses an active campaign one of these DIDs, which are locked, that another active campaign has.
pub(crate) async fn check_dids_free(
    request: &Request,
    owner: UserId,
    id: i32,
    did_ids: &[i32],
) -> Result<(), Problem> {
    let Some(used) = request.did_in_use(owner, id, did_ids).await? else {
        return Ok(());
    };
    Err(Problem::conflict(
        Code::DidInUse,
        format!(
            "Calls to {} go to the active campaign {:?} (id {}). Untie it there, or pause that campaign, first.",
            used.number, used.campaign_name, used.campaign_id
        ),
    ))
}

/// A campaign as a caller sees it in a list.
fn listed(caller: &Caller, row: CampaignRow) -> Owned<Campaign> {
    let (owner, username) = (row.owner, row.username.clone());
    Owned::seen_by(caller, Campaign::of(row), owner, &username)
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Listed<Owned<Campaign>>>, Problem> {
    let page = query.page(20)?;
    let filter = CampaignFilter {
        user_id: query.only_id("user_id")?,
        status: query.choice("status", STATUSES)?,
        routing_strategy: query.choice("routing_strategy", STRATEGIES)?,
        did_id: query.only_id("did_id")?,
        client_id: query.only_id("client_id")?,
        text: query.checked("q", 100)?,
    };
    let sort = query.choice("sort", SORTS)?.unwrap_or("name");
    let (rows, total) = api
        .store
        .campaigns(caller.reach(), &filter, sort, page.bounds())
        .await?;
    let campaigns = rows.into_iter().map(|row| listed(&caller, row)).collect();
    Ok(Json(page.of(campaigns, total)))
}

async fn available_clients(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Response, Problem> {
    let page = query.page_of(MOST_AVAILABLE_CLIENTS, MOST_AVAILABLE_CLIENTS)?;
    let text = query.checked("q", 100)?;
    let sort = query.choice("sort", AVAILABLE_SORTS)?.unwrap_or("name");
    let (clients, total) = api
        .store
        .available_clients(caller.user_id, text, sort, page.bounds())
        .await?;
    let clients: Vec<_> = clients.into_iter().map(ClientBrief::of).collect();
    let total = [("x-total-count", total.to_string())];
    Ok((total, Json(clients)).into_response())
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<NewCampaign>,
) -> Result<Response, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let owner = owner_of_new(&request, &caller, new.user_id).await?;
    quotas::admit(&api, &request, owner, Kind::Campaigns).await?;
    if new.recording_enabled {
        quotas::admit(&api, &request, owner, Kind::RecordingBytes).await?;
    }
    let row = request
        .create_campaign(
            owner,
            &NewCampaignRow {
                name: &new.name,
                status: &new.status,
                routing_strategy: &new.routing_strategy,
                dial_timeout_seconds: new.dial_timeout_seconds,
                description: new.description.as_deref(),
                recording: CampaignRecording {
                    enabled: new.recording_enabled,
                    language: new.recording_language,
                    announcement: new.recording_announcement,
                    retention_days: new.recording_retention_days,
                    mask_numbers: new.mask_numbers,
                },
            },
        )
        .await
        .map_err(|error| name_taken(error, Some(&new.name)))?;
    let locked = whole(&request, row).await?;
    let campaign = &locked.campaign.campaign;
    let object = ("campaign", campaign.id);
    note(
        &request,
        &caller,
        owner,
        "create",
        object,
        None,
        shown(campaign),
    )
    .await?;
    request.commit().await?;
    let campaign = locked.seen_by(&caller);
    Ok(created_below(
        campaign.object.campaign.id,
        Tagged(campaign.object.tag(), campaign),
    ))
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Tagged<Owned<CampaignWithAll>>, Problem> {
    let whole = api.store.campaign(caller.reach(), id).await?;
    let whole = whole.ok_or_else(|| Problem::not_found("campaign"))?;
    let (owner, username) = (whole.campaign.owner, whole.campaign.username.clone());
    let campaign = CampaignWithAll::of(whole);
    let tag = campaign.tag();
    Ok(Tagged(
        tag,
        Owned::seen_by(&caller, campaign, owner, &username),
    ))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedCampaign>,
) -> Result<Tagged<Owned<CampaignWithAll>>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let mut locked = lock(&request, id, &headers).await?;
    let owner = locked.owner;
    if !locked.is_active && change.status.as_deref() == Some("active") {
        let did_ids = request.lock_dids(owner, &locked.campaign.did_ids()).await?;
        check_dids_free(&request, owner, id, &did_ids).await?;
    }
    if change.recording_enabled == Some(true) && !locked.campaign.campaign.recording_enabled {
        quotas::admit(&api, &request, owner, Kind::RecordingBytes).await?;
    }
    let row = request
        .update_campaign(
            id,
            &CampaignChange {
                name: change.name.as_deref(),
                status: change.status.as_deref(),
                routing_strategy: change.routing_strategy.as_deref(),
                dial_timeout_seconds: change.dial_timeout_seconds,
                description: change.description.as_ref().map(Option::as_deref),
                recording: RecordingChange {
                    enabled: change.recording_enabled,
                    language: change.recording_language.as_deref(),
                    announcement: change.recording_announcement.as_ref().map(Option::as_deref),
                    retention_days: change.recording_retention_days,
                    mask_numbers: change.mask_numbers,
                },
            },
        )
        .await
        .map_err(|error| name_taken(error, change.name.as_deref()))?;
    let before = std::mem::replace(&mut locked.campaign.campaign, Campaign::of(row));
    let (before, after) = (shown(&before), shown(&locked.campaign.campaign));
    note(
        &request,
        &caller,
        owner,
        "update",
        ("campaign", id),
        before,
        after,
    )
    .await?;
    request.commit().await?;
    let campaign = locked.seen_by(&caller);
    Ok(Tagged(campaign.object.tag(), campaign))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let Locked {
        owner, campaign, ..
    } = lock(&request, id, &headers).await?;
    request.delete_campaign(id).await?;
    let before = shown(&campaign);
    note(
        &request,
        &caller,
        owner,
        "delete",
        ("campaign", id),
        before,
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
