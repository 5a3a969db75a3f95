//! Campaigns: a seller's plan for the calls to some DIDs.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::{Access, Caller};
use super::body::{Input, given};
use super::code::Code;
use super::etag::{Tag, Tagged, created_below};
use super::form::{Field, Form, Rule, Unknown};
use super::links::Link;
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use super::{Api, Message, Problem, note_own, quotas, shown, words};
use crate::store;
use crate::store::campaigns::{
    AvailableClientRow, CampaignChange, CampaignRecording, CampaignRow, NewCampaignRow,
    RecordingChange, TiedDidRow, WholeCampaign,
};
use crate::store::quotas::Kind;
use crate::store::request::{Broken, Request};

/// The operations on campaigns.
pub fn operations() -> Vec<Operation> {
    const ALL: &str = "/api/seller/campaigns";
    const ONE: &str = "/api/seller/campaigns/{id}";
    let operations = vec![
        Operation::get(ALL, "listCampaigns", list)
            .tagged("campaigns", "List your campaigns")
            .query(&PAGING)
            .query(&[STATUS_PARAMETER])
            .answers::<Listed<Campaign>>(
                200,
                "Your campaigns, by name, without their DIDs and links.",
            )
            .problems(&[400]),
        Operation::post(ALL, "createCampaign", create)
            .tagged("campaigns", "Add a campaign")
            .body(&NEW_CAMPAIGN)
            .example(
                r#"{"name": "Sales US", "routingStrategy": "priority", "dialTimeoutSeconds": 25}"#,
            )
            .answers::<CampaignWithAll>(201, "The new campaign.")
            .problems(&[409]),
        Operation::get(
            "/api/seller/campaigns/available_clients",
            "listAvailableClients",
            available_clients,
        )
        .tagged("campaigns", "List the clients you may link")
        .answers::<Vec<ClientBrief>>(200, "All active clients by name, at most 500."),
        Operation::get(ONE, "getCampaign", read)
            .tagged("campaigns", "Read a campaign")
            .answers::<CampaignWithAll>(200, "The campaign with its DIDs and links."),
        Operation::put(ONE, "updateCampaign", update)
            .tagged("campaigns", "Change a campaign")
            .about(
                "Refused with 409 if it would become active while another active campaign has one of its DIDs.",
            )
            .body(&CAMPAIGN_CHANGE)
            .example(r#"{"status": "paused"}"#)
            .answers::<CampaignWithAll>(200, "The changed campaign.")
            .problems(&[409, 412]),
        Operation::delete(ONE, "deleteCampaign", delete)
            .tagged("campaigns", "Delete a campaign")
            .about("Its links go with it, its DIDs stay. Calls under way go on; its calls stay in the log.")
            .answers_nothing(204, "It is gone.")
            .problems(&[412]),
        Operation::put("/api/seller/campaigns/{id}/dids", "setCampaignDids", set_dids)
            .tagged("campaigns", "Set the DIDs of a campaign")
            .about(
                "Replaces them all; repeats count once. A DID may be tied to several campaigns of which one is \
                 active: a second active one is refused with 409.",
            )
            .body(&CAMPAIGN_DIDS)
            .example(r#"{"didIds": [1, 2]}"#)
            .answers::<Message>(200, "They are set.")
            .problems(&[409, 412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Seller))
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
pub(super) const INT4: i64 = i32::MAX as i64;

/// Most clients in the list of those that may be linked.
const MOST_AVAILABLE_CLIENTS: i64 = 500;

const STATUS_PARAMETER: Parameter = parameter(
    "status",
    ParameterKind::Choice(STATUSES),
    "Only those of this status.",
);

static NEW_CAMPAIGN: Form = Form {
    name: "NewCampaign",
    fields: &[
        Field::line("name", 1, 100)
            .required()
            .about("Unique among your campaigns."),
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
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static CAMPAIGN_CHANGE: Form = Form {
    name: "CampaignChange",
    fields: &[
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
    ],
    unknown: Unknown::Drop,
    at_least_one: true,
};

static CAMPAIGN_DIDS: Form = Form {
    name: "CampaignDids",
    fields: &[Field::ids("didIds", 10_000).required()],
    unknown: Unknown::Drop,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewCampaign {
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CampaignDids {
    did_ids: Vec<i32>,
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
    fn tag(&self) -> Tag {
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

    fn did_ids(&self) -> Vec<i32> {
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
pub(super) async fn refuse_campaign(request: &Request, id: i32) -> Result<Problem, Problem> {
    Ok(if request.campaign_exists(id).await? {
        Problem::forbidden(Code::NotYours, "This campaign is another seller's.")
    } else {
        Problem::not_found("campaign")
    })
}

/// Locks a campaign of the caller for a change of it, its ties or its links.
async fn lock(
    request: &Request,
    caller: &Caller,
    id: i32,
    headers: &HeaderMap,
) -> Result<CampaignWithAll, Problem> {
    let Some(row) = request.lock_campaign(caller.user_id, id).await? else {
        return Err(refuse_campaign(request, id).await?);
    };
    let whole = request.whole_campaign(caller.user_id, row).await?;
    let campaign = CampaignWithAll::of(whole);
    campaign.tag().check(headers)?;
    Ok(campaign)
}

fn name_taken(error: store::Error, name: Option<&str>) -> Problem {
    match (error.broken(), name) {
        (Some(Broken::Unique("uq_user_campaign_name")), Some(name)) => Problem::conflict(
            Code::NameTaken,
            format!("You have a campaign named {name:?} already. Choose another name."),
        ),
        _ => error.into(),
    }
}

/// Refuses an active campaign one of these DIDs, which are locked, that another active campaign has.
async fn check_dids_free(
    request: &Request,
    caller: &Caller,
    id: i32,
    did_ids: &[i32],
) -> Result<(), Problem> {
    let Some(used) = request.did_in_use(caller.user_id, id, did_ids).await? else {
        return Ok(());
    };
    Err(Problem::conflict(
        Code::DidInUse,
        format!(
            "Calls to {} go to your active campaign {:?} (id {}). Untie it there, or pause that campaign, first.",
            used.number, used.campaign_name, used.campaign_id
        ),
    ))
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Listed<Campaign>>, Problem> {
    let page = query.page(20)?;
    let status = query.choice("status", STATUSES)?;
    let (campaigns, total) = api
        .store
        .campaigns(caller.user_id, status, page.per_page, page.offset())
        .await?;
    let campaigns = campaigns.into_iter().map(Campaign::of).collect();
    Ok(Json(page.of(campaigns, total)))
}

async fn available_clients(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<ClientBrief>>, Problem> {
    let clients = api
        .store
        .available_clients(caller.user_id, MOST_AVAILABLE_CLIENTS)
        .await?;
    Ok(Json(clients.into_iter().map(ClientBrief::of).collect()))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<NewCampaign>,
) -> Result<Response, Problem> {
    let request = api.store.request(caller.reach()).await?;
    quotas::admit(&api, &request, caller.user_id, Kind::Campaigns).await?;
    if new.recording_enabled {
        quotas::admit(&api, &request, caller.user_id, Kind::RecordingBytes).await?;
    }
    let row = request
        .create_campaign(
            caller.user_id,
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
    let campaign = CampaignWithAll::of(WholeCampaign {
        campaign: row,
        dids: vec![],
        links: vec![],
    });
    let id = campaign.campaign.id;
    note_own(
        &request,
        &caller,
        "create",
        ("campaign", id),
        None,
        shown(&campaign.campaign),
    )
    .await?;
    request.commit().await?;
    Ok(created_below(
        campaign.campaign.id,
        Tagged(campaign.tag(), campaign),
    ))
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Tagged<CampaignWithAll>, Problem> {
    let whole = api.store.campaign(caller.user_id, id).await?;
    let campaign = CampaignWithAll::of(whole.ok_or_else(|| Problem::not_found("campaign"))?);
    Ok(Tagged(campaign.tag(), campaign))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedCampaign>,
) -> Result<Tagged<CampaignWithAll>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let mut campaign = lock(&request, &caller, id, &headers).await?;
    let activated =
        campaign.campaign.status != "active" && change.status.as_deref() == Some("active");
    if activated {
        let did_ids = request
            .lock_dids(caller.user_id, &campaign.did_ids())
            .await?;
        check_dids_free(&request, &caller, id, &did_ids).await?;
    }
    if change.recording_enabled == Some(true) && !campaign.campaign.recording_enabled {
        quotas::admit(&api, &request, caller.user_id, Kind::RecordingBytes).await?;
    }
    let row = request
        .update_campaign(
            caller.user_id,
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
    let before = std::mem::replace(&mut campaign.campaign, Campaign::of(row));
    let (before, after) = (shown(&before), shown(&campaign.campaign));
    note_own(&request, &caller, "update", ("campaign", id), before, after).await?;
    request.commit().await?;
    Ok(Tagged(campaign.tag(), campaign))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let before = lock(&request, &caller, id, &headers).await?;
    request.delete_campaign(caller.user_id, id).await?;
    note_own(
        &request,
        &caller,
        "delete",
        ("campaign", id),
        shown(&before),
        None,
    )
    .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_dids(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(CampaignDids { mut did_ids }): Input<CampaignDids>,
) -> Result<Tagged<Message>, Problem> {
    did_ids.sort_unstable();
    did_ids.dedup();
    let request = api.store.request(caller.reach()).await?;
    let Some(row) = request.lock_campaign(caller.user_id, id).await? else {
        return Err(Problem::not_found("campaign"));
    };
    let active = row.status == "active";
    let whole = request.whole_campaign(caller.user_id, row.clone()).await?;
    let campaign = CampaignWithAll::of(whole);
    campaign.tag().check(&headers)?;
    let before = campaign.did_ids();

    let locked = request.lock_dids(caller.user_id, &did_ids).await?;
    let foreign: Vec<_> = did_ids
        .iter()
        .filter(|id| locked.binary_search(id).is_err())
        .collect();
    if !foreign.is_empty() {
        let some: Vec<_> = foreign.iter().take(20).map(ToString::to_string).collect();
        return Err(Problem::forbidden(
            Code::NotYourDids,
            format!("You have no DIDs with these ids: {}.", some.join(", ")),
        ));
    }
    if active {
        let new: Vec<i32> = did_ids
            .iter()
            .copied()
            .filter(|id| before.binary_search(id).is_err())
            .collect();
        check_dids_free(&request, &caller, id, &new).await?;
    }
    request.tie_dids(id, &did_ids).await?;
    note_own(
        &request,
        &caller,
        "set_dids",
        ("campaign", id),
        Some(json!({ "didIds": before })),
        Some(json!({ "didIds": did_ids })),
    )
    .await?;
    let whole = request.whole_campaign(caller.user_id, row).await?;
    request.commit().await?;
    let tag = CampaignWithAll::of(whole).tag();
    let message = Message::new(format!(
        "The campaign has {} DID{} now.",
        did_ids.len(),
        if did_ids.len() == 1 { "" } else { "s" }
    ));
    Ok(Tagged(tag, message))
}
