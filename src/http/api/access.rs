//! Who asks, and may they: the guard before every operation.
//!
//! Order of checks: login (401), role and scope (403), origin of a browser's request (403), rate (429).
//! Handlers behind it can rely on the [`Caller`] they get.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::operation::{Meta, Served};
use super::{Api, Problem, trace};
use crate::domain::{Role, UserId};
use crate::store::request::{Actor, Reach};

/// Who may use an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever is logged in.
    SignedIn,
    /// Sellers only; administrators and staff have no objects of their own.
    Seller,
    /// Staff and administrators.
    Staff,
    /// Administrators only.
    Admin,
    /// Programs with the internal token.
    Internal,
}

impl Access {
    /// Whether a role has it, and the names of those that do.
    fn allows(self, role: Role) -> Result<(), &'static str> {
        let (allowed, names): (&[Role], _) = match self {
            Self::Public | Self::Internal | Self::SignedIn => return Ok(()),
            Self::Seller => (&[Role::User], "user"),
            Self::Staff => (&[Role::Admin, Role::Staff], "admin, staff"),
            Self::Admin => (&[Role::Admin], "admin"),
        };
        if allowed.contains(&role) {
            Ok(())
        } else {
            Err(names)
        }
    }
}

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The session with this id.
    Session(i64),
    /// The API key with this id.
    Key(i64),
}

/// Who asks. Active, and allowed to.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// How it showed that.
    pub via: Via,
    /// Where it asks from.
    pub address: IpAddr,
}

impl Caller {
    /// What its requests may see.
    pub fn reach(&self) -> Reach {
        match self.role {
            Role::User => Reach::Tenant(self.user_id),
            Role::Admin | Role::Staff => Reach::Everything,
        }
    }

    /// As the audit log names it.
    pub fn actor(&self) -> Actor {
        Actor {
            user_id: Some(self.user_id),
            name: self.username.clone(),
            via: match self.via {
                Via::Session(id) => format!("session:{id}"),
                Via::Key(id) => format!("key:{id}"),
            },
            request_id: trace::request_id(),
            address: self.address.to_string(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("an operation without login asks who the caller is");
            Problem::internal()
        })
    }
}

/// Where a request comes from: the peer, or who a trusted proxy says it is.
#[derive(Debug, Clone, Copy)]
pub struct From(pub IpAddr);

impl FromRequestParts<Api> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self(address_of(&parts.headers, &parts.extensions, api)))
    }
}

fn address_of(headers: &HeaderMap, extensions: &axum::http::Extensions, api: &Api) -> IpAddr {
    let peer = extensions
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| {
            peer.0.ip().to_canonical()
        });
    if !api.settings.trusted_proxies.contains(&peer) {
        return peer;
    }
    // The last one was written by the proxy itself, those before by whoever asked it.
    headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok())
        .unwrap_or(peer)
}

/// Stands before each operation.
pub async fn guard(
    State((api, operation)): State<(Api, Arc<Meta>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = operation.path;
    let mut response = match admit(&api, &operation, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(Served { path });
    response
}

async fn admit(api: &Api, operation: &Meta, request: &mut Request) -> Result<(), Problem> {
    let address = address_of(request.headers(), request.extensions(), api);
    match operation.access {
        Access::Public => {}
        Access::Internal => check_internal_token(api, request.headers())?,
        access => {
            let caller = authenticate(api, request.headers(), address).await?;
            if let Err(allowed) = access.allows(caller.role) {
                return Err(Problem::forbidden(
                    "role_not_allowed",
                    format!(
                        "This needs one of the roles [{allowed}]; yours is {}.",
                        caller.role.as_str()
                    ),
                ));
            }
            if matches!(caller.via, Via::Session(_)) && !is_safe(request.method()) {
                check_origin(api, request.headers())?;
            }
            tracing::debug!(user.id = caller.user_id.0, "admitted");
            request.extensions_mut().insert(caller);
        }
    }
    if let Some(form) = operation.form {
        request.extensions_mut().insert(form);
    }
    Ok(())
}

/// Whose login, or key, the headers hold.
pub async fn authenticate(
    api: &Api,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Caller, Problem> {
    let Some(token) = cookie(headers, "session") else {
        return Err(Problem::unauthorized(
            "not_logged_in",
            "Log in first: POST /api/auth/login, or send an API key as bearer token.",
        ));
    };
    let found = api.store.find_session(&super::auth::digest(&token)).await?;
    let Some(session) = found else {
        return Err(Problem::unauthorized(
            "session_ended",
            "This session has ended. Log in again.",
        ));
    };
    let role = Role::parse(&session.role).ok_or_else(Problem::internal)?;
    Ok(Caller {
        user_id: session.user_id,
        username: session.username,
        role,
        via: Via::Session(session.session_id),
        address,
    })
}

fn check_internal_token(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let tokens = &api.settings.internal_tokens;
    if tokens.is_empty() {
        tracing::error!("an internal caller asked, but http.internal_token is not set");
        return Err(Problem::internal());
    }
    let given = headers
        .get("x-internal-api-token")
        .map(axum::http::HeaderValue::as_bytes)
        .unwrap_or_default();
    let mut right = subtle::Choice::from(0);
    for token in tokens {
        right |= token.expose_secret().as_bytes().ct_eq(given);
    }
    if bool::from(right) {
        Ok(())
    } else {
        Err(Problem::unauthorized(
            "wrong_internal_token",
            "Send the internal token in the header X-Internal-API-Token.",
        ))
    }
}

/// A browser says which site a request comes from; another site's are refused. Programs say nothing.
pub fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let foreign = match text(header::ORIGIN) {
        None => text(header::HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| site == "cross-site"),
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            let own = host.is_some() && host == text(header::HOST);
            !own && api.settings.public_origin.as_deref() != Some(origin)
        }
    };
    if foreign {
        return Err(Problem::forbidden(
            "foreign_origin",
            "This request comes from another site. Should it be this one, set http.public_url to its address.",
        ));
    }
    Ok(())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A cookie of the request.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}
