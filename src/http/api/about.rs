//! What this server is and can do, for programs that want to know before they ask for it.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use crate::domain::{Claims, Language};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::query::MAX_PER_PAGE;
use crate::http::kit::{body, words};
use crate::runtime::clock;

/// The operation.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/about", "about", about)
            .tagged("auth", "Read what this server is and can do")
            .access(Access::SignedIn)
            .answers::<About>(200, "What it is."),
    ]
}

/// What this server is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// `capconduit`.
    name: &'static str,
    /// Of the program.
    version: &'static str,
    /// Which daemon answered; others may share its database.
    node: String,
    server_time: Moment,
    /// Your own role.
    #[schemars(with = "words::Role")]
    role: &'static str,
    features: Features,
    limits: Limits,
}

/// What is turned on.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// Recordings can be heard here.
    recording: bool,
    /// This daemon transcribes them.
    transcription: bool,
    /// Languages that can be transcribed, where their models are installed.
    #[schemars(with = "Vec<words::SpokenLanguage>")]
    languages: Vec<&'static str>,
    /// How sellers come to their DIDs.
    dids: DidClaims,
    /// Changes need `If-Match`.
    if_match_required: bool,
}

/// How sellers come to their DIDs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DidClaims {
    /// They add them.
    Open,
    /// They add them, staff confirms them.
    Confirm,
    /// Staff adds them.
    Staff,
}

/// How much may be asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Items in a part of a list.
    per_page: i64,
    /// Bytes of a request's body.
    body_bytes: usize,
    /// Requests a minute of one account or API key.
    requests_per_minute: u32,
}

async fn about(State(api): State<Api>, caller: Caller) -> Json<About> {
    let settings = &api.settings;
    Json(About {
        name: "capconduit",
        version: env!("CARGO_PKG_VERSION"),
        node: settings.node.clone(),
        server_time: Moment(clock::now()),
        role: caller.role.as_str(),
        features: Features {
            recording: api.storage.is_some(),
            transcription: settings.transcribes,
            languages: Language::ALL
                .iter()
                .map(|language| language.as_str())
                .collect(),
            dids: match settings.claims {
                Claims::Open => DidClaims::Open,
                Claims::Confirm => DidClaims::Confirm,
                Claims::Staff => DidClaims::Staff,
            },
            if_match_required: settings.require_if_match,
        },
        limits: Limits {
            per_page: MAX_PER_PAGE,
            body_bytes: body::MAX_BYTES,
            requests_per_minute: settings.requests_per_minute,
        },
    })
}
