//! What an account may have at most: the platform's limits, or what staff set for it.
//!
//! Nothing that is there is taken away when a limit is lowered; only more is refused.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounts::store::quotas::{ByKind, Kind};
use crate::db::request::{Change, Request};
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Id;
use crate::http::kit::shown;

/// What an account may have where staff said nothing else; `None`: as much as it likes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quotas {
    /// DIDs.
    pub dids: Option<i64>,
    /// Campaigns.
    pub campaigns: Option<i64>,
    /// Links, of all campaigns together.
    pub links: Option<i64>,
    /// API keys.
    pub keys: Option<i64>,
    /// Bytes of stored recordings.
    pub recording_bytes: Option<i64>,
}

impl Quotas {
    fn of(&self, kind: Kind) -> Option<i64> {
        match kind {
            Kind::Dids => self.dids,
            Kind::Campaigns => self.campaigns,
            Kind::Links => self.links,
            Kind::Keys => self.keys,
            Kind::RecordingBytes => self.recording_bytes,
        }
    }
}

/// The operations.
pub fn operations() -> Vec<Operation> {
    const ONE: &str = "/api/admin/users/{id}/limits";
    vec![
        Operation::get("/api/seller/limits", "getLimits", own)
            .tagged("limits", "Read what you have and may have at most")
            .access(Access::Seller)
            .heavy()
            .answers::<AccountLimits>(200, "The limits."),
        Operation::get(ONE, "getLimitsOfUser", read)
            .tagged("limits", "Read what a seller has and may have at most")
            .access(Access::Staff)
            .heavy()
            .answers::<AccountLimits>(200, "The limits."),
        Operation::put(ONE, "setLimitsOfUser", set)
            .tagged("limits", "Set what a seller may have at most")
            .about(
                "null: the platform's limit counts again. What is there already stays, also where it is more than a new \
                 limit; only more is refused, with 409 `quota_exceeded`.",
            )
            .access(Access::Staff)
            .body(&LIMITS)
            .example(r#"{"dids": 500, "recordingBytes": 50000000000, "keys": null}"#)
            .answers::<AccountLimits>(200, "The limits."),
    ]
}

/// Largest limit: numbers in JSON are exact up to here.
const LARGEST: i64 = 9_007_199_254_740_991;

static LIMITS: Form = Form {
    name: "AccountLimitsUpdate",
    fields: &[
        Field::integer("dids", 0, LARGEST).nullable(),
        Field::integer("campaigns", 0, LARGEST).nullable(),
        Field::integer("links", 0, LARGEST)
            .nullable()
            .about("Of all campaigns together."),
        Field::integer("keys", 0, 100).nullable(),
        Field::integer("recordingBytes", 0, LARGEST)
            .nullable()
            .about("Bytes of stored recordings. With so many, recording cannot be switched on for a campaign."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: true,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitsUpdate {
    #[serde(default, deserialize_with = "given")]
    dids: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    campaigns: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    links: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    keys: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    recording_bytes: Option<Option<i64>>,
}

/// A limit, and how much of it is used.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimit {
    /// What there is.
    used: i64,
    /// What there may be; null: there is no limit.
    most: Option<i64>,
    /// Staff set this limit for the account; else it is the platform's.
    set_by_staff: bool,
}

/// What an account has and may have at most.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimits {
    dids: AccountLimit,
    campaigns: AccountLimit,
    /// Of all campaigns together.
    links: AccountLimit,
    /// API keys that can be used.
    keys: AccountLimit,
    /// Bytes of stored recordings.
    recording_bytes: AccountLimit,
}

impl AccountLimits {
    fn of(platform: &Quotas, set: &ByKind, used: &ByKind) -> Self {
        let one = |kind: Kind| AccountLimit {
            used: used.get(&kind).copied().unwrap_or_default(),
            most: set.get(&kind).copied().or(platform.of(kind)),
            set_by_staff: set.contains_key(&kind),
        };
        Self {
            dids: one(Kind::Dids),
            campaigns: one(Kind::Campaigns),
            links: one(Kind::Links),
            keys: one(Kind::Keys),
            recording_bytes: one(Kind::RecordingBytes),
        }
    }
}

/// Refuses one more of a kind where an account has as much as it may. Until the transaction ends nobody else adds one.
pub async fn admit(api: &Api, request: &Request, user: UserId, kind: Kind) -> Result<(), Problem> {
    match room(api, request, user, kind).await? {
        Room::For(0, refused) => Err(refused),
        Room::For(..) | Room::Unlimited => Ok(()),
    }
}

/// How many more of a kind an account may have.
pub enum Room {
    /// There is no limit.
    Unlimited,
    /// So many, and what is said of more.
    For(usize, Problem),
}

/// How many more of a kind an account may have. Until the transaction ends nobody else adds one.
pub async fn room(api: &Api, request: &Request, user: UserId, kind: Kind) -> Result<Room, Problem> {
    let set = request.account_limits(user).await?;
    let Some(most) = set.get(&kind).copied().or(api.settings.quotas.of(kind)) else {
        return Ok(Room::Unlimited);
    };
    let there = request.lock_and_count(user, kind).await?;
    let left = usize::try_from(most - there).unwrap_or(0);
    let what = match kind {
        Kind::Dids => format!("{most} DIDs"),
        Kind::Campaigns => format!("{most} campaigns"),
        Kind::Links => format!("{most} links"),
        Kind::Keys => format!("{most} API keys"),
        Kind::RecordingBytes => format!("{most} bytes of recordings"),
    };
    let refused = Problem::new(
        StatusCode::CONFLICT,
        Code::QuotaExceeded,
        format!(
            "This account may have {what}, and has {there}. Delete what is not needed, or ask the operator's staff for more."
        ),
    );
    Ok(Room::For(left, refused))
}

async fn limits_of(api: &Api, caller: &Caller, user: UserId) -> Result<AccountLimits, Problem> {
    let there = api.store.used(caller.reach(), user).await?;
    let request = api.store.request(caller.reach()).await?;
    let set = request.account_limits(user).await?;
    request.commit().await?;
    Ok(AccountLimits::of(&api.settings.quotas, &set, &there))
}

async fn own(State(api): State<Api>, caller: Caller) -> Result<Json<AccountLimits>, Problem> {
    Ok(Json(limits_of(&api, &caller, caller.user_id).await?))
}

/// The seller with this id: other accounts have nothing that is limited.
async fn seller(api: &Api, caller: &Caller, id: i32) -> Result<UserId, Problem> {
    let user = api.store.user(caller.reach(), UserId(id)).await?;
    let seller = user.filter(|user| Role::parse(&user.role) == Some(Role::User));
    Ok(seller.ok_or_else(|| Problem::not_found("seller"))?.id)
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<AccountLimits>, Problem> {
    let user = seller(&api, &caller, id).await?;
    Ok(Json(limits_of(&api, &caller, user).await?))
}

async fn set(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Input(update): Input<LimitsUpdate>,
) -> Result<Json<AccountLimits>, Problem> {
    let user = seller(&api, &caller, id).await?;
    let request = api.store.request(caller.reach()).await?;
    let before = named(&request.account_limits(user).await?);
    for (kind, most) in [
        (Kind::Dids, update.dids),
        (Kind::Campaigns, update.campaigns),
        (Kind::Links, update.links),
        (Kind::Keys, update.keys),
        (Kind::RecordingBytes, update.recording_bytes),
    ] {
        if let Some(most) = most {
            request.set_account_limit(user, kind, most).await?;
        }
    }
    let after = named(&request.account_limits(user).await?);
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(user),
            action: "set_limits",
            object_type: "user",
            object_id: id.to_string(),
            before: shown(&before),
            after: shown(&after),
            reason: None,
        })
        .await?;
    request.commit().await?;
    Ok(Json(limits_of(&api, &caller, user).await?))
}

fn named(limits: &ByKind) -> std::collections::BTreeMap<&'static str, i64> {
    let named = limits.iter().map(|(kind, most)| (kind.as_str(), *most));
    named.collect()
}
