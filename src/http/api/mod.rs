//! The HTTP API: what sellers, administrators and programs manage and read.
//!
//! `operation` is the one table from which routes, access rules and the document come; `form` does
//! the same for bodies. Resources are a module each: they translate between JSON and [`crate::db`] or
//! [`crate::routing`], and decide nothing about calls. Every transaction sees only what its caller may
//! see ([`crate::db::request`]), whatever a handler forgets.

mod about;
mod docs;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::accounts::api::quotas::Quotas;
use crate::accounts::api::{
    audit, auth, keys, logins, quotas, recovery, second_factor, security_events, sessions, users,
};
use crate::accounts::guard;
use crate::accounts::sealing::SealingKeys;
use crate::accounts::security;
use crate::calls::api::{decisions, events, export, internal, live, logs, servers, statistics};
use crate::catalogue::api::{
    bulk, campaigns, clients, dids, grants, links, order, staff_dids, ties, usage,
};
use crate::db::Store;
use crate::domain::network::{ForwardedHeader, Network};
use crate::domain::weak_password::PasswordRule;
use crate::domain::{Claims, SecondFactor};
use crate::http::kit::address::UntrustedProxy;
use crate::http::kit::code::Code;
use crate::http::kit::gates::{Budget, Gate, Width};
use crate::http::kit::operation::Operation;
use crate::http::kit::problem::Problem;
use crate::http::kit::{compression, cors, limits, openapi, streams, trace};
use crate::privacy::api as erasures;
use crate::recordings::api::{peaks, recordings, shared_links};
use crate::recordings::object_storage::Storage;
use crate::routing::Engine;
use crate::transcripts::api::{jobs, transcripts};

/// What the API is told once.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the configuration, as they are"
)]
pub struct Settings {
    /// Tokens of internal callers; any of them is right. None: there are no internal callers.
    pub internal_tokens: Vec<SecretString>,
    /// Origin of the pages that may use the API beside its own, as `https://calls.example.com`.
    pub public_origin: Option<String>,
    /// Origins of other pages that may use the API.
    pub cors_origins: Vec<String>,
    /// Changes of what has a version are refused without `If-Match`.
    pub require_if_match: bool,
    /// Name of this daemon.
    pub node: String,
    /// Recordings are transcribed here.
    pub transcribes: bool,
    /// Cookies are for https only.
    pub secure_cookies: bool,
    /// Peers that are believed who asked them.
    pub trusted_proxies: Vec<Network>,
    /// Where these tell it.
    pub forwarded_header: ForwardedHeader,
    /// Where a proxy is noted that is not among them.
    pub untrusted_proxy: UntrustedProxy,
    /// Contexts that an endpoint may have, beside the one that leads nowhere.
    pub contexts: Vec<String>,
    /// A session ends when not used for so long.
    pub session_idle: Duration,
    /// A session ends at this age.
    pub session_age: Duration,
    /// So long the remember cookie opens new sessions.
    pub remember: Duration,
    /// Failed logins of a network at one account, or at ten times as many accounts, before it has to wait.
    pub login_attempts: u32,
    /// How long it waits.
    pub login_lock: Duration,
    /// Requests a minute of one account or key.
    pub requests_per_minute: u32,
    /// Requests a minute of one address without login.
    pub anonymous_requests_per_minute: u32,
    /// Programs with the internal token have a listener of their own (`Routers::inside`), and are not served elsewhere.
    pub internal_apart: bool,
    /// What an account may have where staff said nothing else.
    pub quotas: Quotas,
    /// How sellers come to their DIDs.
    pub claims: Claims,
    /// Passwords, keys and second factors.
    pub accounts: Accounts,
}

/// Passwords, keys and second factors of accounts.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// How long an API key lives, unless it is said.
    pub key_default: Duration,
    /// The longest that one may live.
    pub key_max: Duration,
    /// What passwords must be.
    pub password_rule: PasswordRule,
    /// Whose second factor is asked for.
    pub second_factor: SecondFactor,
    /// What second factors are sealed with. Without it there can be none.
    pub sealing_key: Option<Arc<SealingKeys>>,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// See [`Api`].
pub struct Shared {
    /// The database.
    pub(crate) store: Store,
    /// The routing engine.
    pub(crate) engine: Engine,
    /// Where recordings are kept; none, if none are heard here.
    pub(crate) storage: Option<Storage>,
    /// What the API was told.
    pub(crate) settings: Settings,
    /// Requests a minute, by who asks.
    pub(crate) limits: limits::Limits,
    /// Log-ins at work and refused.
    pub(crate) logins: logins::Logins,
    /// What was found out about tokens a moment ago.
    pub(crate) tokens: guard::Tokens,
    /// For requests that take a moment.
    pub(crate) ordinary: Gate,
    /// For those that may take long.
    pub(crate) heavy: Gate,
    /// Answers that go on.
    pub(crate) streams: streams::Streams,
    /// Writes security events down.
    pub(crate) security: security::Recorder,
    /// Who listens to events of calls.
    pub(crate) events: events::Hub,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every operation there is.
pub(crate) fn operations() -> Vec<Operation> {
    [
        about::operations(),
        auth::operations(),
        logins::operations(),
        sessions::operations(),
        quotas::operations(),
        keys::operations(),
        second_factor::operations(),
        users::operations(),
        recovery::operations(),
        clients::operations(),
        grants::operations(),
        dids::operations(),
        staff_dids::operations(),
        bulk::operations(),
        campaigns::operations(),
        ties::operations(),
        links::operations(),
        order::operations(),
        usage::operations(),
        live::operations(),
        servers::operations(),
        events::operations(),
        logs::operations(),
        export::operations(),
        peaks::operations(),
        recordings::operations(),
        shared_links::operations(),
        transcripts::operations(),
        jobs::operations(),
        statistics::operations(),
        decisions::operations(),
        audit::operations(),
        security_events::operations(),
        erasures::operations(),
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

/// Of one account half of the connections may be in use, so that one whose requests wait for each other's locks leaves
/// some to the rest.
fn ordinary_width(store: &Store) -> Width {
    Width {
        places: usize::MAX,
        of_one: (store.api_connections() / 2).max(1),
        // More than may come at once by the default limit.
        waiting: 128,
        wait: Duration::from_secs(10),
        budget: None,
    }
}

/// As many as there are connections for it; half of them for one account, and of the cores an eighth where it asks
/// without pause: so many seconds of work come back each second.
fn heavy_width(store: &Store) -> Width {
    let places = store.heavy_connections();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Width {
        places,
        of_one: (places / 2).max(1),
        waiting: 4,
        wait: Duration::from_secs(10),
        budget: Some(Budget {
            burst: Duration::from_secs(2),
            rate: cores as f64 / 8.0,
        }),
    }
}

/// The API's routers, which share what they know.
pub struct Routers {
    /// For everybody; without the operations for programs, if those are apart ([`Settings::internal_apart`]).
    pub outside: Router,
    /// For programs with the internal token, and nothing else.
    pub inside: Router,
    /// Writes security events down. Ends after both are dropped, when all that came is written.
    pub security_events: JoinHandle<()>,
}

/// The router of the API. `storage` is where recordings are kept; none, if there are none to be heard here.
pub fn router(
    store: Store,
    engine: Engine,
    storage: Option<Storage>,
    settings: Settings,
) -> Router {
    routers(store, engine, storage, settings).outside
}

/// As [`router`], with the one for programs.
pub fn routers(
    store: Store,
    engine: Engine,
    storage: Option<Storage>,
    settings: Settings,
) -> Routers {
    let (security, security_events) = security::Recorder::start(store.clone());
    let api = Api(Arc::new(Shared {
        events: events::Hub::new(store.clone()),
        engine,
        storage,
        limits: limits::Limits::new(&settings),
        logins: logins::Logins::default(),
        tokens: guard::Tokens::default(),
        ordinary: Gate::new("account", ordinary_width(&store)),
        heavy: Gate::new("heavy", heavy_width(&store)),
        streams: streams::Streams::default(),
        security,
        settings,
        store,
    }));
    let outside = routes(&api, operations()).merge(docs::routes());
    let inside = routes(&api, internal::operations()).layer(middleware::from_fn(mark_inside));
    Routers {
        outside: finished(outside, api.clone()),
        inside: finished(inside, api),
        security_events,
    }
}

/// The routes of all operations, each behind its guard.
fn routes(api: &Api, operations: Vec<Operation>) -> Router<Api> {
    let mut router = Router::new();
    for Operation { meta, handler } in operations {
        let path = meta.path;
        let guard = middleware::from_fn_with_state((api.clone(), Arc::new(meta)), guard::guard);
        router = router.route(path, handler.route_layer(guard));
    }
    router
}

fn finished(router: Router<Api>, api: Api) -> Router {
    let origins = cors::origins(&api.settings.cors_origins);
    router
        .route("/health", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(api)
        .layer(middleware::from_fn_with_state(origins, cors::layer))
        .layer(middleware::from_fn(trace::layer))
        .layer(compression::layer())
}

async fn mark_inside(mut request: Request, next: middleware::Next) -> Response {
    request.extensions_mut().insert(guard::Inside);
    next.run(request).await
}

/// Says only that the process serves; readiness is on the ops listener.
async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "message": "capconduit is up." }))
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Code::NotFound,
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
        Code::MethodNotAllowed,
        "This address has no such method; the header Allow lists those it has.",
    )
    .into_response()
}
