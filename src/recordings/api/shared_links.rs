//! Links to recordings that work without a login, for a while.
//!
//! A link names what it opens, who made it and when it ends, and is signed with a key that all daemons share
//! (HMAC-SHA-256); it is not stored. Invariants: it opens no more than its maker could hear now, and none outlives the
//! access it was made with. So it ends with its time, with the recording, with its maker's account, when all access of
//! that is taken back, with the API key that made it; and all end when the signing key is deleted. Who reads by a link
//! takes no share of its maker's.

use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::recordings::{self, ATTEMPT, DOWNLOAD, Heard, LEGS, RANGE_HEADERS, of_call};
use crate::accounts::guard::still_holds;
use crate::accounts::security::{Kind, of_stranger};
use crate::db::request::{Change, Reach};
use crate::domain::{Leg, Role, UserId};
use crate::http::Cut;
use crate::http::api::Api;
use crate::http::kit::address::From;
use crate::http::kit::body::read_optional;
use crate::http::kit::code::Code;
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::gates::Party;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller, Via};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Query};
use crate::http::kit::streams::{Reader, Right, What};
use crate::http::kit::trace::SHARED;
use crate::http::kit::words;
use crate::recordings::store::shared_links::Signer;
use crate::runtime::clock;

mod claim;

use claim::Claim;

/// The operations.
pub fn operations() -> Vec<Operation> {
    let make = |path, id, access| {
        Operation::post(path, id, make)
            .access(access)
            .about(
                "An address that anybody may hear the recording at, without a login, until it ends. It ends earlier with \
                 the recording; when its account is not active any more, changes its password or has its access revoked; \
                 with the API key that made it. It cannot be ended by itself: make it short. 404 as for the recording \
                 itself.",
            )
            .query(&[ATTEMPT])
            .body_if_any(&NEW_LINK)
            .example(r#"{"seconds": 3600, "leg": "mix"}"#)
            .answers::<RecordingLink>(201, "The link.")
            .problems(&[400])
    };
    vec![
        make(
            "/api/seller/calls/{id}/recording/link",
            "shareRecording",
            Access::Seller,
        )
        .tagged("recordings", "Make a link to the recording of a call"),
        make(
            "/api/admin/calls/{id}/recording/link",
            "shareAnyRecording",
            Access::Staff,
        )
        .tagged("recordings", "Make a link to the recording of any call"),
        Operation::get("/api/shared/recordings/{token}", "getSharedRecording", open)
            .tagged("recordings", "Hear a recording by a link")
            .about(
                "As `getRecording`, with ranges. 404 with `link_not_valid` for what is no link of this system, and \
                 `link_ended` when its time or the access it was made with has ended; other codes as for the recording \
                 itself. 429: this link, or all links of its maker together, are being read by too many at once.",
            )
            .access(Access::Public)
            .query(&[DOWNLOAD])
            .headers(&RANGE_HEADERS)
            .answers_binary(200, "The recording.", "audio/wav")
            .answers_binary(206, "The part of it that `Range` asks for.", "audio/wav")
            .answers_nothing(304, "The version in `If-None-Match` is the present one.")
            .problems(&[400, 404, 416, 429]),
    ]
}

/// What the key is for.
const PURPOSE: &str = "recording_links";

/// Longest life of a link.
const MAX_SECONDS: i64 = 7 * 24 * 3_600;

const DEFAULT_SECONDS: i64 = 3_600;

static NEW_LINK: Form = Form {
    name: "NewRecordingLink",
    fields: &[
        Field::integer("seconds", 1, MAX_SECONDS)
            .about("How long it works: an hour unless said, a week at most."),
        Field::choice("leg", LEGS).about("Who is heard: both, unless said."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Default, Deserialize)]
struct NewLink {
    seconds: Option<i64>,
    leg: Option<String>,
}

/// A link to a recording.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingLink {
    /// Whole if `http.public_url` is set; else a path of this server.
    url: String,
    expires_at: Moment,
    #[schemars(with = "words::RecordingLeg")]
    leg: &'static str,
    /// The attempt that was recorded.
    attempt: i32,
}

async fn make(
    State(api): State<Api>,
    caller: Caller,
    Ids([call_id]): Ids<1>,
    query: Query,
    body: HttpRequest,
) -> Result<Response, Problem> {
    // Who may not hear a recording may not have it heard either.
    caller.check_scope("recordings", &Method::GET)?;
    let given: NewLink = read_optional(body, &NEW_LINK).await?.unwrap_or_default();
    let leg = given
        .leg
        .as_deref()
        .and_then(Leg::parse)
        .unwrap_or(Leg::Mix);
    let found = of_call(&api, &caller, call_id, &query).await?;
    let recording = recordings::stored(found.recording)?;
    recordings::file_of(&recording, leg)?;
    let seconds = given.seconds.unwrap_or(DEFAULT_SECONDS);
    let expires = clock::now() + SignedDuration::from_secs(seconds);
    let expires = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
    let (key, epoch) = key(&api, caller.user_id).await?;
    // Asked after the epoch was read: whoever takes the login away from now on ends this link with it.
    if !still_holds(&api, &caller).await? {
        return Err(Problem::unauthorized(
            Code::SessionEnded,
            "This login has ended. Log in again.",
        ));
    }
    let claim = Claim {
        leg,
        attempt: recording.attempt,
        maker: caller.user_id,
        epoch,
        api_key: match caller.via {
            Via::Session(_) => None,
            Via::Key(id) => Some(id),
        },
        recording_id: recording.recording_id,
        call_id,
        expires: expires.as_second(),
    };
    let token = claim.sign(&key);
    let request = api.store.request(caller.reach()).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: caller.owner().map(UserId),
            action: "share",
            object_type: "recording",
            object_id: recording.recording_id.to_string(),
            before: None,
            after: Some(json!({
                "callId": call_id, "leg": leg.as_str(), "attempt": recording.attempt, "expiresAt": Moment(expires),
            })),
            reason: None,
        })
        .await?;
    request.commit().await?;
    let origin = api.settings.public_origin.as_deref().unwrap_or_default();
    let url = format!("{origin}{SHARED}{token}");
    let link = RecordingLink {
        url: url.clone(),
        expires_at: Moment(expires),
        leg: leg.as_str(),
        attempt: recording.attempt,
    };
    let mut response = (StatusCode::CREATED, Json(link)).into_response();
    let place = HeaderValue::try_from(url).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::LOCATION, place);
    Ok(response)
}

/// The key that links are signed with, made if there is none; and how often the links of an account were ended.
async fn key(api: &Api, user_id: UserId) -> Result<(Vec<u8>, i32), Problem> {
    let find = async || -> Result<_, Problem> {
        let found = api.store.signing_key(PURPOSE, user_id, None).await?;
        Ok(found.map(|found| {
            (
                found.key,
                found.account.map_or(0, |maker| maker.links_epoch),
            )
        }))
    };
    if let Some(found) = find().await? {
        return Ok(found);
    }
    let mut new = [0; 32];
    getrandom::fill(&mut new).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })?;
    api.store.make_signing_key(PURPOSE, &new).await?;
    // Another daemon may have been first.
    find().await?.ok_or_else(Problem::internal)
}

async fn open(
    State(api): State<Api>,
    From(address): From,
    Path(token): Path<String>,
    query: Query,
    method: Method,
    headers: HeaderMap,
    cut: Option<Extension<Cut>>,
) -> Result<Response, Problem> {
    // Whatever they ask for, all readers of links together leave connections to the accounts.
    let pass = api.ordinary.enter(Party::LinkReaders).await?;
    let (claim, reach) = check(&api, &token).await?;
    let found = api
        .store
        .recording_of_call(reach, reach.owner(), claim.call_id, Some(claim.attempt))
        .await?;
    drop(pass);
    let recording = found.and_then(|found| found.recording);
    let recording = recording.filter(|found| found.recording_id == claim.recording_id);
    let Some(recording) = recording else {
        // Its call is no longer the maker's, or the log's.
        return Err(ended());
    };
    let recording = recordings::stored(Some(recording))?;
    let played = of_stranger(Kind::RecordingPlayed, address)
        .about("call", claim.call_id)
        .with(json!({ "leg": claim.leg.as_str(), "link": true, "maker": claim.maker.0 }));
    let response = recordings::play(
        &api,
        claim.call_id,
        claim.leg,
        &recording,
        &query,
        (&method, &headers),
        (
            Reader {
                right: Right::Link(claim.maker, token),
                what: What::Recording(Heard::of(claim.call_id, &recording)),
            },
            cut.map(|Extension(cut)| cut),
        ),
    )
    .await?;
    if method != Method::HEAD && response.status().is_success() {
        let what = format!(
            "{address} {} {} {}",
            claim.call_id, claim.leg, claim.maker.0
        );
        api.security.note_once(&what, played);
    }
    Ok(response)
}

/// What the reader of a link may see now; none if it has ended.
pub async fn reach_of(api: &Api, token: &str) -> Result<Option<Reach>, Problem> {
    match check(api, token).await {
        Ok((_, reach)) => Ok(Some(reach)),
        Err(problem) if problem.status().is_server_error() => Err(problem),
        Err(_) => Ok(None),
    }
}

/// What a link opens, and with whose eyes.
async fn check(api: &Api, token: &str) -> Result<(Claim, Reach), Problem> {
    let not_valid = || {
        recordings::nothing(
            Code::LinkNotValid,
            "This link is not whole, or was not made here. Ask for it again.",
        )
    };
    let (claim, signature) = Claim::parse(token).ok_or_else(not_valid)?;
    let found = api
        .store
        .signing_key(PURPOSE, claim.maker, claim.api_key)
        .await?;
    let found = found.ok_or_else(not_valid)?;
    if !claim.is_signed(&found.key, &signature) {
        return Err(not_valid());
    }
    let stands = |maker: &Signer| {
        maker.status == "active" && maker.links_epoch == claim.epoch && maker.api_key_stands
    };
    let maker = found.account.filter(stands);
    let role = maker.and_then(|maker| Role::parse(&maker.role));
    match role {
        _ if clock::now().as_second() >= claim.expires => Err(ended()),
        None => Err(ended()),
        Some(Role::User) => Ok((claim, Reach::Tenant(claim.maker))),
        Some(Role::Admin | Role::Staff) => Ok((claim, Reach::Everything)),
    }
}

fn ended() -> Problem {
    recordings::nothing(
        Code::LinkEnded,
        "This link has ended. Ask whoever gave it to you for another.",
    )
}
