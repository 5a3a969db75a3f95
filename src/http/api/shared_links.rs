//! Links to recordings that work without a login, for a while.
//!
//! A link names what it opens, who made it and when it ends, and is signed with a key that all daemons share
//! (HMAC-SHA-256); it is not stored. Invariant: it opens no more than its maker could hear now. So it ends with
//! its time, with the recording, with its maker's account, and all end when the key is deleted.

use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::{Access, Caller};
use super::address::From;
use super::body::read_optional;
use super::code::Code;
use super::form::{Field, Form, Unknown};
use super::moment::Moment;
use super::operation::Operation;
use super::query::{Ids, Query};
use super::recordings::{self, ATTEMPT, DOWNLOAD, LEGS, RANGE_HEADERS, of_call};
use super::security::{Kind, of_stranger};
use super::streams::Reader;
use super::{Api, Problem, words};
use crate::clock;
use crate::domain::{Leg, Role, UserId};
use crate::http::Cut;
use crate::store::request::{Change, Reach};

/// The operations.
pub fn operations() -> Vec<Operation> {
    let make = |path, id, access| {
        Operation::post(path, id, make)
            .access(access)
            .about(
                "An address that anybody may hear the recording at, without a login, until it ends. It ends earlier with \
                 the recording, and with the account that made it. It cannot be ended by itself: make it short. 404 as \
                 for the recording itself.",
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
                 `link_ended` when its time or its maker's account has ended; other codes as for the recording itself.",
            )
            .access(Access::Public)
            .query(&[DOWNLOAD])
            .headers(&RANGE_HEADERS)
            .answers_binary(200, "The recording.", "audio/wav")
            .answers_binary(206, "The part of it that `Range` asks for.", "audio/wav")
            .answers_nothing(304, "The version in `If-None-Match` is the present one.")
            .problems(&[400, 404, 416]),
    ]
}

const PREFIX: &str = "/api/shared/recordings/";

/// What the key is for.
const PURPOSE: &str = "recording_links";

/// Says what is signed, so that nothing else that the key might sign passes for it.
const CONTEXT: &[u8] = b"capconduit recording link 1\0";

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

/// What a link says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    leg: Leg,
    attempt: i32,
    maker: UserId,
    recording_id: i64,
    call_id: i64,
    expires: i64,
}

impl Claim {
    const BYTES: usize = 33;

    fn write(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = match self.leg {
            Leg::Mix => 0,
            Leg::Caller => 1,
            Leg::Agent => 2,
        };
        bytes[1..5].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.maker.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.recording_id.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.call_id.to_be_bytes());
        bytes[25..].copy_from_slice(&self.expires.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            leg: match bytes.first()? {
                0 => Leg::Mix,
                1 => Leg::Caller,
                2 => Leg::Agent,
                _ => return None,
            },
            attempt: short(1)?,
            maker: UserId(short(5)?),
            recording_id: long(9)?,
            call_id: long(17)?,
            expires: long(25)?,
        })
    }

    /// As it stands in the address.
    fn sign(self, key: &[u8]) -> String {
        let mut bytes = self.write().to_vec();
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed(&bytes));
        bytes.extend_from_slice(signature.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says, before anybody knows whether it is true; with its signature.
    fn parse(token: &str) -> Option<(Self, Vec<u8>)> {
        // Nothing longer is decoded.
        if token.len() != (Self::BYTES + 32).div_ceil(3) * 4 - 1 {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let signature = bytes.split_off(Self::BYTES);
        Some((Self::read(&bytes)?, signature))
    }

    fn is_signed(self, key: &[u8], signature: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, &signed(&self.write()), signature).is_ok()
    }
}

fn signed(claim: &[u8]) -> Vec<u8> {
    [CONTEXT, claim].concat()
}

/// A path as logs may have it: a link opens what it names to whoever reads it.
pub fn shown(path: &str) -> &str {
    if path.starts_with(PREFIX) {
        "/api/shared/recordings/…"
    } else {
        path
    }
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
    let claim = Claim {
        leg,
        attempt: recording.attempt,
        maker: caller.user_id,
        recording_id: recording.recording_id,
        call_id,
        expires: expires.as_second(),
    };
    let token = claim.sign(&key(&api, caller.user_id).await?);
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
    let url = format!("{origin}{PREFIX}{token}");
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

/// The key that links are signed with; made, if there is none.
async fn key(api: &Api, user_id: UserId) -> Result<Vec<u8>, Problem> {
    if let Some(found) = api.store.signing_key(PURPOSE, user_id).await? {
        return Ok(found.key);
    }
    let mut new = [0; 32];
    getrandom::fill(&mut new).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::internal()
    })?;
    api.store.make_signing_key(PURPOSE, &new).await?;
    // Another daemon may have been first.
    let found = api.store.signing_key(PURPOSE, user_id).await?;
    found.map(|found| found.key).ok_or_else(Problem::internal)
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
    let (claim, reach) = check(&api, &token).await?;
    let owner = match reach {
        Reach::Tenant(user_id) => Some(user_id.0),
        Reach::Everything => None,
    };
    let found = api
        .store
        .recording_of_call(reach, owner, claim.call_id, Some(claim.attempt))
        .await?;
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
            Reader::Link(claim.maker, token),
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

/// Whether a link that is being read still opens what it opened. While the database is away it does.
pub async fn still_opens(api: &Api, token: &str) -> bool {
    match check(api, token).await {
        Ok(_) => true,
        Err(problem) => problem.status().is_server_error(),
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
    let found = api.store.signing_key(PURPOSE, claim.maker).await?;
    let found = found.ok_or_else(not_valid)?;
    if !claim.is_signed(&found.key, &signature) {
        return Err(not_valid());
    }
    let maker = found.account.filter(|(_, status)| status == "active");
    let role = maker.and_then(|(role, _)| Role::parse(&role));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            leg: Leg::Agent,
            attempt: 2,
            maker: UserId(3),
            recording_id: 17,
            call_id: 4_711,
            expires: 1_800_000_000,
        }
    }

    #[test]
    fn a_link_says_what_was_signed() {
        let token = claim().sign(&[7; 32]);
        let (read, signature) = Claim::parse(&token).expect("a token");
        assert_eq!(read, claim());
        assert!(read.is_signed(&[7; 32], &signature));
        assert!(!read.is_signed(&[8; 32], &signature));
    }

    #[test]
    fn no_bit_of_a_link_can_be_another() {
        let token = claim().sign(&[7; 32]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("bytes");
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let parsed = Claim::parse(&URL_SAFE_NO_PAD.encode(forged));
            let passes =
                parsed.is_some_and(|(claim, signature)| claim.is_signed(&[7; 32], &signature));
            assert!(!passes, "bit {bit}");
        }
        for text in [
            "",
            "x",
            &token[1..],
            &format!("{token}A"),
            &format!("{token}=="),
        ] {
            assert!(Claim::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn no_log_has_a_link() {
        assert_eq!(
            shown("/api/shared/recordings/secret"),
            "/api/shared/recordings/…"
        );
        assert_eq!(shown("/api/seller/dids"), "/api/seller/dids");
    }
}
