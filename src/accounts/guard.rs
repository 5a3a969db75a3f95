//! Who asks, and may they: the guard before every operation.
//!
//! Order of checks: login (401), rate (429), role and scope (403), origin of a browser's request (403).
//! Handlers behind it can rely on the [`Caller`] they get.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::api::{auth, keys};
use super::security::{Kind, of_stranger};
use super::store::security::SecurityEvent;
use super::store::sessions::{self, FoundSession, Remembered, Session};
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::address::address_of;
use crate::http::kit::code::Code;
use crate::http::kit::gates::Party;
use crate::http::kit::idempotency;
use crate::http::kit::ignored::Ignored;
use crate::http::kit::limits::Standing;
use crate::http::kit::operation::{Meta, Served};
use crate::http::kit::principal::{Access, Caller, Due, Via, is_safe};
use crate::http::kit::problem::Full;
use crate::http::kit::problem::Problem;
use crate::http::kit::recent::Recent;
use crate::runtime::digest;
use crate::runtime::metrics;

/// Among the extensions of requests that came by the listener for programs.
#[derive(Debug, Clone, Copy)]
pub struct Inside;

/// How long a token that nobody has is known to be such. Tokens are random: none becomes right later.
const UNKNOWN_KEPT: Duration = Duration::from_secs(60);

/// How long a token that was right lets its owner pass where strangers of the same address ask too often.
const GOOD_KEPT: Duration = Duration::from_secs(600);

/// Tokens seen lately, by SHA-256.
pub struct Tokens {
    good: Recent<[u8; 32], ()>,
    unknown: Recent<[u8; 32], ()>,
    /// Those whose owners have asked too often just now.
    tired: Recent<[u8; 32], Standing>,
    /// Those with enough at work just now, by path and whether it is heavy: what they are told.
    full: Recent<([u8; 32], &'static str, bool), Problem>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            good: Recent::new(50_000),
            unknown: Recent::new(50_000),
            tired: Recent::new(50_000),
            full: Recent::new(10_000),
        }
    }
}

/// So long it is not looked at again whether an account that has enough at work still has. It was told to try again
/// after a second.
const FULL_KEPT: Duration = Duration::from_millis(250);

/// Who tries again at once is kept waiting for the same answer, so that trying costs nobody else's time.
const FULL_DELAY: Duration = Duration::from_millis(500);

/// What a request shows, as it is kept.
fn presented(headers: &HeaderMap) -> Option<[u8; 32]> {
    let token = match bearer(headers) {
        Some(key) => key.to_owned(),
        None => cookie(headers, "session")?,
    };
    Some(digest::of_text(&token))
}

/// What the guard learns that the answer must say, whatever it is.
#[derive(Default)]
struct Notes {
    standing: Option<Standing>,
    renewed: Option<Renewed>,
}

/// New cookies of a session that was renewed.
struct Renewed {
    session: String,
    remember: String,
    remember_for: Duration,
}

impl Notes {
    fn limited(&mut self, standing: Standing) -> Result<(), Problem> {
        self.standing = Some(standing);
        standing.check()
    }

    fn put_on(self, api: &Api, response: &mut Response) {
        if let Some(standing) = self.standing {
            standing.put_on(response.headers_mut());
        }
        // A logout has said already what becomes of the cookies.
        if let Some(new) = self.renewed
            && !response.headers().contains_key(header::SET_COOKIE)
        {
            let tokens = (new.session.as_str(), new.remember.as_str());
            auth::set_cookies(api, response, tokens, new.remember_for);
        }
    }
}

/// Stands before each operation.
pub async fn guard(
    State((api, operation)): State<(Api, Arc<Meta>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = operation.path;
    let mut notes = Notes::default();
    let ignored = Ignored::of(request.headers(), &operation);
    request.extensions_mut().insert(ignored.clone());
    let heavy = (operation.heavy)(request.uri().query().unwrap_or_default());
    let asked = presented(request.headers()).map(|token| (token, path, heavy));
    let full = asked.and_then(|asked| api.tokens.full.get(&asked));
    let mut response = if let Some(problem) = full {
        metrics::http_refused("again");
        tokio::time::sleep(FULL_DELAY).await;
        problem.into_response()
    } else {
        let admitted = admit(&api, &operation, &mut request, &mut notes).await;
        let checked = admitted.and_then(|caller| {
            ignored.check_query(&request, &operation)?;
            Ok(caller)
        });
        let served = match checked {
            Ok(caller) => carry_out(&api, heavy, caller, request, next).await,
            Err(problem) => Err(problem),
        };
        let mut response = served.unwrap_or_else(IntoResponse::into_response);
        if let (Some(asked), Some(Full(problem))) = (asked, response.extensions_mut().remove()) {
            api.tokens.full.put(asked, problem, FULL_KEPT);
        }
        response
    };
    notes.put_on(&api, &mut response);
    ignored.put_on(&mut response);
    response.extensions_mut().insert(Served { path });
    response
}

async fn carry_out(
    api: &Api,
    heavy: bool,
    caller: Option<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(caller) = caller else {
        return Ok(next.run(request).await);
    };
    let gate = if heavy { &api.heavy } else { &api.ordinary };
    // Held until the answer begins.
    let pass = gate.enter(Party::Account(caller.user_id.0)).await?;
    if request.method() == Method::POST
        && let Some(key) = idempotency::key_of(request.headers())?
    {
        let key = key.to_owned();
        return idempotency::serve(api, &caller, &key, request, next, pass).await;
    }
    Ok(next.run(request).await)
}

async fn admit(
    api: &Api,
    operation: &Meta,
    request: &mut Request,
    notes: &mut Notes,
) -> Result<Option<Caller>, Problem> {
    if let Some(form) = operation.form {
        request.extensions_mut().insert(form);
    }
    let address = address_of(request.headers(), request.extensions(), api);
    match operation.access {
        Access::Public => {
            // What anybody reads takes nothing from log-ins.
            notes.limited(if is_safe(request.method()) {
                api.limits.stranger(address)
            } else {
                api.limits.login(address)
            })?;
            return Ok(None);
        }
        Access::Internal => {
            if api.settings.internal_apart && request.extensions().get::<Inside>().is_none() {
                return Err(Problem::not_found(
                    "operation here; it has a listener of its own",
                ));
            }
            if let Err(problem) = check_internal_token(api, request.headers()) {
                notes.limited(api.limits.anonymous(address))?;
                return Err(problem);
            }
            return Ok(None);
        }
        Access::SignedIn | Access::Seller | Access::Staff | Access::Admin => {}
    }
    let caller = match authenticate(api, request.headers(), address, notes).await {
        Ok(found) => found,
        Err(problem) => {
            if problem.status() == StatusCode::UNAUTHORIZED {
                if let Some(token) = presented(request.headers()) {
                    api.tokens.good.remove(&token);
                }
                notes.limited(api.limits.anonymous(address))?;
            }
            return Err(problem);
        }
    };
    let standing = api.limits.known(&caller);
    if let (Some(wait), Some(token)) = (standing.wait(), presented(request.headers())) {
        api.tokens.tired.put(token, standing, wait);
    }
    notes.limited(standing)?;
    if let Err(allowed) = operation.access.allows(caller.role) {
        return Err(Problem::forbidden(
            Code::RoleNotAllowed,
            format!(
                "This needs one of the roles [{allowed}]; yours is {}.",
                caller.role.as_str()
            ),
        ));
    }
    if caller.scopes.is_some() {
        if operation.session_only {
            return Err(Problem::forbidden(
                Code::SessionOnly,
                "This is not for API keys. Log in.",
            ));
        }
        caller.check_scope(operation.tag, request.method())?;
    } else if !is_safe(request.method()) {
        check_origin(api, request.headers())?;
    }
    if let Some(due) = caller.due
        && !operation.also_when.contains(&due)
    {
        return Err(due.problem());
    }
    if operation.fresh {
        caller.check_fresh()?;
    }
    if api.settings.require_if_match
        && operation.problems.contains(&412)
        && !request.headers().contains_key(header::IF_MATCH)
    {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            Code::IfMatchRequired,
            "Read it first, then send its ETag as If-Match with your change: nobody's change is overwritten so.",
        ));
    }
    tracing::debug!(user.id = caller.user_id.0, "admitted");
    request.extensions_mut().insert(caller.clone());
    Ok(Some(caller))
}

async fn authenticate(
    api: &Api,
    headers: &HeaderMap,
    address: IpAddr,
    notes: &mut Notes,
) -> Result<Caller, Problem> {
    // Whoever asks too often or guesses tokens is stopped here, before anything is looked up; who was known a moment ago
    // is not stopped by others of the same address.
    let token = presented(headers);
    if let Some(standing) = token.and_then(|token| api.tokens.tired.get(&token)) {
        notes.limited(standing)?;
    }
    if token.is_none_or(|token| api.tokens.good.get(&token).is_none())
        && let Err(standing) = api.limits.check_anonymous(address)
    {
        notes.limited(standing)?;
    }
    let found = if headers.contains_key(header::AUTHORIZATION) {
        let (key, scopes) = by_key(api, headers).await?;
        (key, Some(scopes))
    } else {
        (by_cookies(api, headers, address, notes).await?, None)
    };
    let (who, scopes) = found;
    if let Some(token) = token {
        api.tokens.good.put(token, (), GOOD_KEPT);
    }
    let role = Role::parse(&who.role).ok_or_else(|| {
        tracing::error!(role = who.role, "an account has a role that is none");
        Problem::internal()
    })?;
    let due = match who.via {
        Via::Session(_) => Due::of(
            api.settings.accounts.second_factor,
            Some(role),
            who.must_change_password,
            who.has_factor,
        ),
        Via::Key(id) => {
            api.security
                .key_used(id, who.user_id, &who.username, Some(role), address);
            None
        }
    };
    Ok(Caller {
        user_id: who.user_id,
        username: who.username,
        role,
        via: who.via,
        address,
        scopes,
        due,
        fresh: who.fresh,
    })
}

/// Whether the login or key of a caller still holds, for what goes on longer than a request. Renews nothing.
pub async fn still_holds(api: &Api, caller: &Caller) -> Result<bool, Problem> {
    let (session, key) = match caller.via {
        Via::Session(id) => (Some(id), None),
        Via::Key(id) => (None, Some(id)),
    };
    let role = caller.role.as_str();
    let holds = api.store.login_holds(caller.user_id, role, session, key);
    Ok(holds.await?)
}

/// Whom a session or a key belongs to.
struct Who {
    user_id: UserId,
    username: String,
    role: String,
    via: Via,
    must_change_password: bool,
    has_factor: bool,
    fresh: bool,
}

impl Who {
    fn of_session(session: Session) -> Self {
        Self {
            user_id: session.user_id,
            username: session.username,
            role: session.role,
            via: Via::Session(session.session_id),
            must_change_password: session.must_change_password,
            has_factor: session.has_factor,
            fresh: session.fresh,
        }
    }
}

async fn by_cookies(
    api: &Api,
    headers: &HeaderMap,
    address: IpAddr,
    notes: &mut Notes,
) -> Result<Who, Problem> {
    let (session, remember) = (
        cookie(headers, "session"),
        cookie(headers, "remember_token"),
    );
    if session.is_none() && remember.is_none() {
        return Err(unauthorized(
            Code::NotLoggedIn,
            "Log in first: POST /api/auth/login, or send an API key as bearer token.",
        ));
    }
    let lives = auth::lives(api);
    if let Some(token) = session {
        let hash = digest::of_text(&token);
        if api.tokens.unknown.get(&hash).is_none() {
            match api.store.find_session(&hash, lives.idle).await? {
                FoundSession::Living(session) => return Ok(Who::of_session(session)),
                FoundSession::Ended => {}
                FoundSession::Unknown => api.tokens.unknown.put(hash, (), UNKNOWN_KEPT),
            }
        }
    }
    let ended = || unauthorized(Code::SessionEnded, "This session has ended. Log in again.");
    let Some(remember) = remember else {
        return Err(ended());
    };
    let (new_session, new_remember) = (auth::new_token()?, auth::new_token()?);
    let tokens = sessions::Tokens {
        session: &digest::of_text(&new_session),
        remember: &digest::of_text(&new_remember),
    };
    let resumed = api
        .store
        .resume_session(
            &digest::of_text(&remember),
            tokens,
            lives,
            &address.to_string(),
        )
        .await?;
    match resumed {
        Remembered::Renewed(session, remember_for) => {
            notes.renewed = Some(Renewed {
                session: new_session,
                remember: new_remember,
                remember_for,
            });
            Ok(Who::of_session(session))
        }
        // The request that renewed it brings the browser its cookies.
        Remembered::Shared(session) => Ok(Who::of_session(session)),
        Remembered::Nothing => Err(ended()),
        Remembered::Stolen {
            session_id,
            user_id,
        } => {
            tracing::warn!(
                user.id = user_id.0,
                session.id = session_id,
                %address,
                "a remember token came that was replaced long ago: the session has been ended"
            );
            api.security.note(SecurityEvent {
                user_id: Some(user_id.0),
                ..of_stranger(Kind::SessionStolen, address).about("session", session_id)
            });
            Err(ended())
        }
    }
}

async fn by_key(api: &Api, headers: &HeaderMap) -> Result<(Who, Vec<String>), Problem> {
    let token = bearer(headers).ok_or_else(|| {
        unauthorized(
            Code::BadAuthorization,
            "Send an API key as `Authorization: Bearer cck_…`, once.",
        )
    })?;
    let wrong = || {
        unauthorized(
            Code::WrongApiKey,
            "This API key is not known, or has ended, or was revoked.",
        )
    };
    let prefix = keys::prefix_of(token).ok_or_else(wrong)?;
    let hash = digest::of_text(token);
    if api.tokens.unknown.get(&hash).is_some() {
        return Err(wrong());
    }
    let found = api.store.find_key(prefix).await?;
    let right = found
        .as_ref()
        .is_some_and(|key| bool::from(key.hash.as_slice().ct_eq(&hash)));
    if !right {
        api.tokens.unknown.put(hash, (), UNKNOWN_KEPT);
    }
    let key = found.ok_or_else(wrong)?;
    if !right || !key.usable {
        return Err(wrong());
    }
    if key.stale {
        api.store.touch_key(key.key_id).await?;
    }
    let who = Who {
        user_id: key.user_id,
        username: key.username,
        role: key.role,
        via: Via::Key(key.key_id),
        must_change_password: false,
        has_factor: false,
        fresh: false,
    };
    Ok((who, key.scopes))
}

/// The token of the one `Authorization` header, if that is of the scheme `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// 401 with the way to do better.
fn unauthorized(code: Code, message: &'static str) -> Problem {
    Problem::unauthorized(code, message).with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"capconduit\""),
    )
}

fn check_internal_token(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let tokens = &api.settings.internal_tokens;
    if tokens.is_empty() {
        tracing::error!("an internal caller asked, but http.internal_token is not set");
        return Err(Problem::internal());
    }
    let given = headers
        .get("x-internal-api-token")
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    if is_one_of(given, tokens) {
        Ok(())
    } else {
        Err(Problem::unauthorized(
            Code::WrongInternalToken,
            "Send the internal token in the header X-Internal-API-Token.",
        ))
    }
}

/// Takes the same time wherever they differ: hashes are compared, which are also of one length.
fn is_one_of(given: &[u8], tokens: &[SecretString]) -> bool {
    let hash: [u8; 32] = Sha256::digest(given).into();
    let mut right = subtle::Choice::from(0);
    for token in tokens {
        right |= digest::of_text(token.expose_secret()).ct_eq(&hash);
    }
    // Nothing is no token, whatever the configuration says.
    bool::from(right) && !given.is_empty()
}

/// A browser says which site a request comes from; another site's are refused. Programs say nothing.
pub fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let foreign = match text(header::ORIGIN) {
        None => text(header::HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| site == "cross-site"),
        Some(origin) => {
            let listed = api
                .settings
                .cors_origins
                .iter()
                .any(|listed| listed == origin);
            // Where the own address is said, what the request calls it does not count.
            let own = if let Some(own) = api.settings.public_origin.as_deref() {
                own == origin
            } else {
                let host = origin.split_once("://").map(|(_, host)| host);
                host.is_some() && host == text(header::HOST)
            };
            !own && !listed
        }
    };
    if foreign {
        return Err(Problem::forbidden(
            Code::ForeignOrigin,
            "This request comes from another site. Should it be this one, set http.public_url to its address; should it be a page of yours elsewhere, add it to http.cors_origins.",
        ));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_token_is_right_as_a_whole() {
        let tokens = ["new-token", "old", ""].map(|t| SecretString::from(t.to_owned()));
        for right in ["new-token", "old"] {
            assert!(is_one_of(right.as_bytes(), &tokens), "{right}");
        }
        let long = "new-token".repeat(1_000);
        for wrong in [
            "",
            "n",
            "new-toke",
            "new-token ",
            "NEW-TOKEN",
            "newold",
            &long,
        ] {
            assert!(!is_one_of(wrong.as_bytes(), &tokens), "{wrong}");
        }
        assert!(!is_one_of(b"new-token", &[]));
    }

    #[test]
    fn a_bearer_token_comes_in_one_header() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer abc"]), Some("abc".into()));
        assert_eq!(read(&["bearer  abc "]), Some("abc".into()));
        for none in [
            &[][..],
            &["abc"],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer a", "Bearer a"],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
