//! The HTTP API: what sellers, administrators and programs manage and read.
//!
//! `operation` is the one table from which routes, access rules and the document come; `form` does
//! the same for bodies. Resources are a module each: they translate between JSON and [`crate::store`] or
//! [`crate::routing`], and decide nothing about calls. Every transaction sees only what its caller may
//! see ([`crate::store::request`]), whatever a handler forgets.

mod access;
mod audit;
mod auth;
mod body;
mod campaigns;
mod clients;
mod decisions;
mod dids;
mod docs;
mod etag;
mod events;
mod export;
mod form;
mod idempotency;
mod internal;
mod keys;
mod limits;
mod links;
mod live;
mod logs;
mod moment;
mod openapi;
mod operation;
mod problem;
mod query;
mod range;
mod recordings;
mod registration;
mod servers;
mod sessions;
mod staff_dids;
mod statistics;
mod trace;
mod transcription_jobs;
mod transcripts;
mod usage;
mod users;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::Claims;
use crate::routing::Engine;
use crate::storage::Storage;
use crate::store::Store;
use crate::store::request::{Change, Request as StoreRequest};
use access::Caller;
use operation::Operation;
pub use problem::Problem;

/// What the API is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tokens of internal callers; any of them is right. None: there are no internal callers.
    pub internal_tokens: Vec<SecretString>,
    /// Origin of the pages that may use the API beside its own, as `https://calls.example.com`.
    pub public_origin: Option<String>,
    /// Cookies are for https only.
    pub secure_cookies: bool,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Contexts that an endpoint may have, beside the one that leads nowhere.
    pub contexts: Vec<String>,
    /// A session ends when not used for so long.
    pub session_idle: Duration,
    /// A session ends at this age.
    pub session_age: Duration,
    /// So long the remember cookie opens new sessions.
    pub remember: Duration,
    /// Failed logins of an account, or ten times as many of a network, before it is locked.
    pub login_attempts: u32,
    /// How long it is locked.
    pub login_lock: Duration,
    /// Requests a minute of one account or key.
    pub requests_per_minute: u32,
    /// Requests a minute of one address without login.
    pub anonymous_requests_per_minute: u32,
    /// How sellers come to their DIDs.
    pub claims: Claims,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// See [`Api`].
pub struct Shared {
    store: Store,
    engine: Engine,
    storage: Option<Storage>,
    settings: Settings,
    limits: limits::Limits,
    document: String,
    events: events::Hub,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A sentence and nothing else.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Message {
    /// The sentence.
    pub message: String,
}

impl Message {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// Every operation there is.
fn operations() -> Vec<Operation> {
    [
        auth::operations(),
        sessions::operations(),
        keys::operations(),
        users::operations(),
        clients::operations(),
        dids::operations(),
        staff_dids::operations(),
        campaigns::operations(),
        links::operations(),
        usage::operations(),
        live::operations(),
        servers::operations(),
        events::operations(),
        logs::operations(),
        export::operations(),
        recordings::operations(),
        transcripts::operations(),
        transcription_jobs::operations(),
        statistics::operations(),
        decisions::operations(),
        audit::operations(),
        internal::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The API's document.
pub fn document() -> Value {
    let operations = operations();
    let metas: Vec<_> = operations.iter().map(|o| &o.meta).collect();
    openapi::document(&metas)
}

/// The router of the API. `storage` is where recordings are kept; none, if there are none to be heard here.
pub fn router(
    store: Store,
    engine: Engine,
    storage: Option<Storage>,
    settings: Settings,
) -> Router {
    let api = Api(Arc::new(Shared {
        events: events::Hub::new(store.clone()),
        store,
        engine,
        storage,
        limits: limits::Limits::new(&settings),
        settings,
        document: document().to_string(),
    }));
    operation::routes(&api, operations())
        .route("/health", get(health))
        .route("/api/openapi.json", get(openapi_document))
        .merge(docs::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(api)
        .layer(middleware::from_fn(trace::layer))
}

/// What the audit log keeps of a thing: what the API shows of it.
fn shown(thing: &impl Serialize) -> Option<Value> {
    serde_json::to_value(thing).ok()
}

/// Notes in the audit log what a seller did to something of its own: of this kind, with this id.
async fn note_own(
    request: &StoreRequest,
    caller: &Caller,
    action: &'static str,
    (object_type, id): (&'static str, i32),
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(caller.user_id),
            action,
            object_type,
            object_id: id.to_string(),
            before,
            after,
            reason: None,
        })
        .await?;
    Ok(())
}

/// Says only that the process serves; readiness is on the ops listener.
async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "message": "capconduit is up." }))
}

async fn openapi_document(State(api): State<Api>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], api.document.clone()).into_response()
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is nothing at this address. /api/openapi.json lists what there is.",
    )
}

async fn method_not_allowed(request: Request) -> Response {
    // The router adds the header Allow.
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address has no such method; the header Allow lists those it has.",
    )
    .into_response()
}
